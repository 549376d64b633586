"""The services, locations and backends of the running configuration by key, in the order of lists. Made once for each generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from ..config.messages import suggestion
from ..config.snapshot import Location, Service, Snapshot
from .problem import Mistake, Refused

__all__ = ["Places"]

Key = tuple[str, ...]


class _Made(NamedTuple):
    snapshot: Snapshot
    services: dict[str, Service]
    keys: list[Key]
    locations: list[Key]
    backends: list[Key]


class Places:
    """running: the configuration in effect. Keys: ``(service)``, ``(service, location id)``, ``(service, location id, backend id)``."""

    def __init__(self, running: Callable[[], Snapshot]) -> None:
        self._running = running
        self._kept: _Made | None = None

    def services(self) -> list[Key]:
        return self._made().keys

    def locations(self, service: str = "", path: str = "") -> list[Key]:
        """Of all services or of one; of all paths or of one. Raises `Refused` if a service that is named does not exist or has no such path."""
        return self._of(self._made().locations, service, path)

    def backends(self, service: str = "", path: str = "") -> list[Key]:
        """The same for backends."""
        return self._of(self._made().backends, service, path)

    def parts(self, keys: Sequence[Key]) -> list[Service]:
        """The services of some keys, each with the locations and backends of these keys only."""
        made, found = self._made(), []
        for name, some in groupby(keys, key=lambda key: key[0]):
            service, group = made.services.get(name), list(some)
            if service is None:
                continue
            if len(group[0]) > 1:
                wanted = {key[1] for key in group}
                ids = {key[2] for key in group if len(key) > 2}
                service = replace(
                    service,
                    locations=tuple(
                        replace(one, backends=tuple(backend for backend in one.backends if backend.id in ids))
                        if len(group[0]) > 2
                        else one
                        for one in service.locations
                        if one.id in wanted
                    ),
                )
            found.append(service)
        return found

    def service(self, name: str) -> Service:
        """Raises `Refused` if there is none."""
        made = self._made()
        if name not in made.services:
            words = f"there is no service {name}{suggestion(name, sorted(made.services))}"
            raise Refused(404, words, [Mistake(pointer="/service_name", detail=words, where="query")])
        return made.services[name]

    def _of(self, keys: list[Key], service: str, path: str) -> list[Key]:
        if service:
            found = self.service(service)
            if path and not any(_is_at(one, path) for one in found.locations):
                words = f"service {service} has no location {path}{suggestion(path, [one.place for one in found.locations])}"
                raise Refused(404, words, [Mistake(pointer="/path", detail=words, where="query")])
            keys = [key for key in keys if key[0] == service]
        if not path:
            return keys
        made = self._made()
        wanted = {one.id for name in {key[0] for key in keys} for one in made.services[name].locations if _is_at(one, path)}
        return [key for key in keys if key[1] in wanted]

    def _made(self) -> _Made:
        snapshot = self._running()
        if self._kept is None or self._kept.snapshot is not snapshot:
            services = {one.name: one for one in snapshot.services}
            locations = [(service.name, one.id) for service in snapshot.services for one in service.locations]
            backends = [
                (service.name, one.id, backend.id)
                for service in snapshot.services
                for one in service.locations
                for backend in one.backends
                if backend.slot >= 0
            ]
            self._kept = _Made(
                snapshot, services, sorted((name,) for name in services), sorted(set(locations)), sorted(set(backends))
            )
        return self._kept


def _is_at(location: Location, path: str) -> bool:
    return path in (location.path, location.place)
