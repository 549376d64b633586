"""The sources of filters: octets that are not in the configuration. They are in files that an operator names, or in documents that the admin
worker fetches.

A filter's settings name each as a `terraster.config.settings.kinds.Source`. The octets are laid into the settings before a configuration
is compiled, so each process has them without reading a file, and other octets are a change of the services that use them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace

from .settings.kinds import FilterSettings, Source
from .snapshot import Filters, Location, Service, Snapshot

__all__ = ["file_of", "fill", "sources"]

Get = Callable[[str, Source], "bytes | None"]


def file_of(state_dir: str, source: Source) -> str:
    """The file that holds the octets of a source."""
    if source.fetch is None:
        return source.name
    return os.path.join(state_dir, "fetched", f"{hashlib.sha256(source.name.encode()).hexdigest()}.json")


def sources(snapshot: Snapshot) -> Iterator[tuple[str, Source]]:
    """Each use of a source, with the words for its place: "service NAME"."""
    yield from _of("the top", snapshot.filters)
    for service in snapshot.services:
        where = f"service {service.name}"
        yield from _of(where, service.filters)
        for location in service.locations:
            if location.filters is not service.filters:
                yield from _of(where, location.filters)


def fill(snapshot: Snapshot, get: Get) -> Snapshot:
    """The snapshot with the octets of all sources; itself if it has none. get: the octets for a place in words and a source, None: there are
    none yet."""
    filters = _filled("the top", snapshot.filters, get)
    services = tuple([_service(service, get) for service in snapshot.services])
    if filters is snapshot.filters and all(map(_same, services, snapshot.services)):
        return snapshot
    return replace(snapshot, filters=filters, services=services)


def _service(service: Service, get: Get) -> Service:
    where = f"service {service.name}"
    filters = _filled(where, service.filters, get)
    locations = tuple([_location(where, service, location, filters, get) for location in service.locations])
    if filters is service.filters and all(map(_same, locations, service.locations)):
        return service
    return replace(service, filters=filters, locations=locations)


def _location(where: str, service: Service, location: Location, of_service: Filters, get: Get) -> Location:
    filters = of_service if location.filters is service.filters else _filled(where, location.filters, get)
    return location if filters is location.filters else replace(location, filters=filters)


def _filled(where: str, filters: Filters, get: Get) -> Filters:
    """The same filters with the octets that they need; themselves if they need none."""
    if not any(_has_sources(settings) for _, settings in filters):
        return filters
    made = []
    for name, settings in filters:
        wanted = settings.sources()
        if wanted:
            found = {source.name: octets for source in wanted if (octets := get(where, source)) is not None}
            settings = settings.with_contents(found)
        made.append((name, settings))
    return tuple(made)


def _of(where: str, filters: Filters) -> Iterator[tuple[str, Source]]:
    for _, settings in filters:
        if _has_sources(settings):
            for source in settings.sources():
                yield where, source


def _has_sources(settings: FilterSettings) -> bool:
    """True if settings of this kind may have sources."""
    return type(settings).sources is not FilterSettings.sources


def _same(one: object, other: object) -> bool:
    return one is other
