"""The services, locations and backends of the running configuration by key, in the order of lists. Made once for each generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from ..config.messages import suggestion
from ..config.snapshot import Service, Snapshot
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
        """Of all services, of one, or of one path of it. Raises `Refused` if there is no such service or path."""
        made = self._made()
        return (
            [key for key in made.locations if self._is_of(made, key, service, path)]
            if self._exists(service, path)
            else made.locations
        )

    def backends(self, service: str = "", path: str = "") -> list[Key]:
        """The same for backends."""
        made = self._made()
        return (
            [key for key in made.backends if self._is_of(made, key, service, path)]
            if self._exists(service, path)
            else made.backends
        )

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

    def _exists(self, service: str, path: str) -> bool:
        """True if a service is named."""
        if not service:
            if path:
                words = "`path` needs `service_name`"
                raise Refused(422, words, [Mistake(pointer="/path", detail=words, where="query")])
            return False
        found = self.service(service)
        if path and not any(path in (one.path, one.place) for one in found.locations):
            words = f"service {service} has no location {path}{suggestion(path, [one.place for one in found.locations])}"
            raise Refused(404, words, [Mistake(pointer="/path", detail=words, where="query")])
        return True

    def _is_of(self, made: _Made, key: Key, service: str, path: str) -> bool:
        if key[0] != service:
            return False
        return not path or any(one.id == key[1] and path in (one.path, one.place) for one in made.services[service].locations)

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
