"""Spellings of a path (`terraster.route.spellings`) in a service with locations that have conditions.

A server that reads a path otherwise reads the method and the fields as Terraster does. So the reading is located like a path, with the
conditions of the same request, but upper and lower case are the same to its regular expressions. If it lies in a location with other access
filters than the request's location has, the request is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from ..exchange import Exchange
from .forks import Candidate
from .prefix import Prefixes, normal
from .spellings import lenient, readings

__all__ = ["ForkedSpellings"]

P = TypeVar("P")

Guards = tuple[object, ...]
Group = list[tuple[Candidate[P], Guards]]
"""The locations of one path, as it is written, in the order in which they are tried."""

Level = tuple[Group[P], ...]
"""The groups whose paths are the same to a lenient server."""


class ForkedSpellings(Generic[P]):
    """Immutable. The tests of the candidates take no notice of the case of a path."""

    __slots__ = ("_exact", "_guards", "_prefixes")

    def __init__(self, locations: Iterable[tuple[Candidate[P], Guards]]) -> None:
        """locations: those of a service, with their access filters"""
        self._guards: dict[P, Guards] = {}
        exact: dict[bytes, Group[P]] = {}
        prefixes: dict[bytes, Group[P]] = {}
        for candidate, guards in locations:
            self._guards[candidate.payload] = guards
            table, key = (exact, candidate.path) if candidate.exact else (prefixes, normal(candidate.path))
            table.setdefault(key, []).append((candidate, guards))
        self._exact: dict[bytes, Level[P]] = {}
        for path, group in exact.items():
            read = lenient(path)
            read += b"/" if path.endswith(b"/") and read != b"/" else b""
            self._exact[read] = (*self._exact.get(read, ()), group)
        levels: dict[bytes, Level[P]] = {}
        for path, group in prefixes.items():
            read = normal(lenient(path or b"/"))
            levels[read] = (*levels.get(read, ()), group)
        self._prefixes: Prefixes[tuple[Level[P], ...]] = Prefixes([(read or b"/", _with_shorter(read, levels)) for read in levels])

    def leads_round(self, exchange: Exchange, path: bytes, location: P) -> bool:
        """True if a lenient server takes a canonical path, which lies in this location, for one in a location with other access filters."""
        reads = readings(path)
        if reads[0] is not path:  # the reading is without a slash at its end, which the server may see
            reads = (*reads, *[read + b"/" for read in reads if read != b"/"])
        for read in reads:
            if self._is_guarded_apart(exchange, read, location):
                return True
        return False

    def _is_guarded_apart(self, exchange: Exchange, read: bytes, location: P) -> bool:
        """True if a path that a server reads lies in a location with access filters, and with others than this location has."""
        here = self._exact.get(read)
        for level in (*(() if here is None else (here,)), *(self._prefixes.find(read) or ())):
            found = [one for group in level if (one := _first(group, exchange, read)) is not None]
            for _, guards in found:
                if guards and guards != self._guards[location]:
                    return True
            if found:
                return False
        return False


def _with_shorter(read: bytes, levels: dict[bytes, Level[P]]) -> tuple[Level[P], ...]:
    """The level of a path, and those of the prefixes above it."""
    found = [levels[read]]
    while read:
        read = read[: read.rfind(b"/")]
        if read in levels:
            found.append(levels[read])
    return tuple(found)


def _first(group: Group[P], exchange: Exchange, path: bytes) -> tuple[Candidate[P], Guards] | None:
    for one in group:
        test = one[0].test
        if test is None or test.fits(exchange, path):
            return one
    return None
