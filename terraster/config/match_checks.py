"""Locations of one service that share a path: which are the same, which have one name, and which get no request.

A location gets none if another one of its path comes first and takes all that it would (`terraster.config.match.covers`). Those that several
others take together are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .ids import label
from .match import Match, covers, rank
from .messages import Beside, Complaint
from .settings import LocationSettings, ServiceSettings
from .splitting import arm_names

__all__ = ["errors", "warnings"]

_LITERAL = re.compile(r"\^?((?:[A-Za-z0-9/_~,=:@%&!;'-]|\\[^A-Za-z0-9])*)(.?)", re.DOTALL)
_CHARACTER = re.compile(r"\\?(.)", re.DOTALL)
_OPTIONAL = frozenset("*?{")


class _Place(NamedTuple):
    """A location. path: canonical; label: its name within the service; number: its place in the list"""

    location: LocationSettings
    match: Match | None
    path: str
    label: str
    number: int

    @property
    def labels(self) -> list[str]:
        """The label, and those of the arms of a split."""
        split = self.location.split
        return [self.label, *(() if split is None else [label(self.label, name) for name in arm_names(split)])]


def _places(service: ServiceSettings, paths: Sequence[str]) -> dict[tuple[str, bool], list[_Place]]:
    """The locations by path and kind of path. paths: canonical"""
    found: dict[tuple[str, bool], list[_Place]] = {}
    for number, (location, path) in enumerate(zip(service.locations, paths, strict=True)):
        match, mark = location.conditions()
        exact = match is not None and match.exact
        found.setdefault((path if exact else path.rstrip("/"), exact), []).append(
            _Place(location, match, path, label(path, mark), number)
        )
    return found


def errors(service: ServiceSettings, paths: Sequence[str]) -> Iterator[Complaint]:
    """Locations that are defined twice, and those that have one name. Paths of complaints begin at the service."""
    called: dict[str, _Place] = {}
    for several in _places(service, paths).values():
        seen: dict[Match | None, _Place] = {}
        for place in several:
            other = seen.setdefault(place.match, place)
            here = ("locations", place.number)
            if other is not place:
                words = f"`path` {place.location.path} is defined twice in service `{service.label}`"
                if place.match is None:
                    yield (*here, "path"), False, words
                else:
                    yield (
                        (*here, "path"),
                        False,
                        Beside(f"{words} with the same `match`, first in {{there}}", ("locations", other.number, "path")),
                    )
                continue
            for name in place.labels:
                named = called.setdefault(name, place)
                if named is not place:
                    key = "path" if place.location.name is None else "name"
                    words = (
                        f"two locations are called {service.label}{name}, the other one in {{there}}: give each a `name` of its own"
                    )
                    yield (*here, key), False, Beside(words, ("locations", named.number, "path"))
                    break


def warnings(service: ServiceSettings, paths: Sequence[str]) -> Iterator[Complaint]:
    """Locations that get no request. Paths of complaints begin at the service."""
    for several in _places(service, paths).values():
        ordered = sorted(several, key=_rank)
        for at, place in enumerate(ordered):
            here = ("locations", place.number, "path")
            if place.match is not None and _lies_elsewhere(place.match.path_regex, place.path):
                words = (
                    f"`path` {place.location.path} gets no request: no path below it matches `path_regex` {place.match.path_regex}"
                )
                yield here, False, words
                continue
            first = next((one for one in ordered[:at] if covers(one.match, place.match)), None)
            if first is not None:
                before = f"{service.label}{first.label} in {{there}}"
                words = f"`path` {place.location.path} gets no request: {before} comes first and takes all of them"
                yield here, False, Beside(words, ("locations", first.number, "path"))


def _rank(place: _Place) -> tuple[bool, int, int, int]:
    return rank(place.match)


def _lies_elsewhere(pattern: str, path: str) -> bool:
    """True if every path that an expression matches begins with other characters than the prefix."""
    if not pattern or "|" in pattern:
        return False
    match = _LITERAL.match(pattern)
    assert match is not None
    characters = _CHARACTER.findall(match[1])
    start = "".join(characters[:-1] if match[2] in _OPTIONAL else characters)
    prefix = path.rstrip("/")
    return not start.startswith(prefix) and not prefix.startswith(start)
