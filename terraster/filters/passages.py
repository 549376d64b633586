"""Ways past access filters that a configuration leaves open: a location that reaches what another location protects, at the same backend.

A location with conditions (`match`) lets all other requests pass, so whatever takes these is a way past its filters. A location beside it in
the same service was meant to be open if its conditions are about the client's address, the method or the path. Conditions about fields,
parameters and cookies do not count as a reason, because every client can send them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from ..config.called import served
from ..config.match import rank
from ..config.snapshot import Backend, Filters, Location, Service, Snapshot
from ..config.splitting import backends
from ..route.forks import Forks, of_service

__all__ = ["passages"]

_MOST = 20
"""Ways that are named."""

_COMPARED = 1000
"""Locations of one backend that are compared with each other."""


class _Way(NamedTuple):
    """A location, and a path at a backend that its requests have there, or that is below it. guards: its access filters"""

    service: Service
    location: Location
    path: str
    guards: Filters


def passages(snapshot: Snapshot, guarding: Collection[str]) -> list[str]:
    """A sentence for each location that reaches the same backend past an access filter. guarding: names of the kinds of access filters"""
    ways: dict[tuple[str, int, str], list[_Way]] = {}
    for service in snapshot.services:
        for location in served(service):
            guards = tuple([one for one in location.filters if one[0] in guarding])
            for backend in backends(service, location):
                way = _Way(service, location, _path(location, backend), guards)
                ways.setdefault((backend.host, backend.port, backend.socket), []).append(way)
    found = dict.fromkeys(_sentences(ways.values()))
    lines = list(found)
    return lines if len(lines) <= _MOST else [*lines[:_MOST], f"and {len(lines) - _MOST} more ways past access filters"]


def _sentences(ways: Collection[list[_Way]]) -> Iterator[str]:
    forks: dict[str, Forks[Location]] = {}
    for several in ways:
        guarded = [one for one in several if one.guards]
        if all(other.guards == several[0].guards for other in several):
            continue
        if len(several) > _COMPARED:
            yield f"{len(several)} locations share {_backend(several[0])}: they are too many to look for ways past their access filters"
            continue
        for one in guarded:
            for other in several:
                if other.guards != one.guards and (lacking := _lacking(one, other)) and _reaches(other, one, forks):
                    what = ", ".join(f"`{name}`" for name in lacking)
                    verb = "may reach" if other.location.rewrites else "reaches"
                    yield (
                        f"{other.service.name}{other.location.label} {verb} the backend of {one.service.name}{one.location.label} "
                        f"({_backend(one)}) without {what} of that location"
                    )


def _lacking(one: _Way, other: _Way) -> list[str]:
    """The kinds of access filters that one location has and the other has not, or not alike. Kinds that the other has instead count
    for nothing: it is for the operator to judge them."""
    return list(dict.fromkeys(name for name, settings in one.guards if (name, settings) not in other.guards))


def _reaches(other: _Way, one: _Way, known: dict[str, Forks[Location]]) -> bool:
    """True if a request to the other location may have a path at the backend that only the first location should give it. known: the locations
    of services by path, made once"""
    if other.location.rewrites:
        return True  # nobody knows which paths its patterns make
    if _lies_in(one.path, other.path):
        asked = _joined(other.location.path, one.path[len(other.path.rstrip("/")) :])
        if other.service.name not in known:
            known[other.service.name] = of_service(other.service)
        forks = known[other.service.name]
        if other.service is one.service and _was_meant(other.location, one.location):
            return False
        return any(_takes(forks, path, other.location) for path in (asked, f"{asked.rstrip('/')}/")[: 1 + _is_exact(one.location)])
    # The other one is a part of the first one's. Beside it in the same service, under the same path, it was meant to be open.
    return _lies_in(other.path, one.path) and (
        other.service is not one.service or not _lies_in(other.location.path, one.location.path)
    )


def _takes(forks: Forks[Location], path: str, location: Location) -> bool:
    """True if a location takes some requests for a path."""
    return any(one.payload is location for one in forks.candidates(path.encode("ascii")))


def _is_exact(location: Location) -> bool:
    return location.match is not None and location.match.exact


def _was_meant(other: Location, one: Location) -> bool:
    """True if a location beside another one takes some of its requests for a reason that clients cannot choose."""
    match = other.match
    if match is None or not (match.clients or match.methods or match.path_regex):
        return False
    return _lies_in(other.path, one.path) and (one.match is None or rank(match) < rank(one.match))


def _path(location: Location, backend: Backend) -> str:
    """The path at the backend that stands for the location's own."""
    return _joined(backend.base_path, location.rewrite or location.path)


def _joined(prefix: str, rest: str) -> str:
    return prefix.rstrip("/") + (rest if rest.startswith("/") or not rest else f"/{rest}") or "/"


def _lies_in(path: str, prefix: str) -> bool:
    """True if the prefix matches the path: it ends where a segment of the path ends."""
    whole = prefix.rstrip("/")
    return path.rstrip("/") == whole or path.startswith(f"{whole}/")


def _backend(way: _Way) -> str:
    found = backends(way.service, way.location)
    return found[0].display if len(found) == 1 else f"{len(found)} backends"
