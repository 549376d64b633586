"""Where rules are written in the files of one load."""

from __future__ import annotations

from typing import Any

from ..errors import Problem, Unplaced
from .comparing import Side, compared
from .load import Load, Path, with_paths
from .origins import origins
from .places import keys_of, place_of
from .settings import Settings
from .wanted import wanted

__all__ = ["Rules"]

_KEYS = frozenset(("redirect", "http_redirect", "split", "rewrite", "backends"))
"""The keys of rules that are not written in `middleware`."""


class Rules:
    """Where rules are written. files: those that were read, the main one first. known: False if they cannot be used; then no rule has a
    place, and ``problems`` has the reasons"""

    __slots__ = ("_load", "_settings", "files", "known", "problems")

    def __init__(self, load: Load, settings: Settings | None, problems: tuple[str, ...] = ()) -> None:
        """settings: None if the files cannot be used."""
        self.problems = problems
        self._load = load
        self._settings = settings
        self.files = tuple(load.files)
        self.known = settings is not None

    def placed(self, problem: Unplaced) -> Problem:
        """The problem with its place, without one if the files do not have it."""
        if self._settings is None:
            return problem
        found = place_of(self._load.language, self._settings, with_paths(self._settings), problem)
        return problem if found is None else self._load.placed((found, True, f"{problem.file}: {problem.message}"))

    def place(self, service: str, location: str, kind: str) -> str:
        """The file, line and column of a rule, from the service's name, the location's label and the filter's kind; "" if it has none."""
        if self._settings is None:
            return ""
        services = with_paths(self._settings)
        here = next((path for path, one in services if one.label == service), None)
        if here is None:
            return ""
        found = place_of(self._load.language, self._settings, services, Unplaced("", "", service, location, kind, "", ()))
        if kind in _KEYS:
            found = next(keys_of(self._settings, services, service, location, kind), found)
        if not kind and (here == ("backends",) or found is None):
            found = here
        if found is None or (location and not kind and found == here != ("backends",)):
            return ""
        return _text(self._load.placed((found, True, "")))

    def values(self, service: str, location: str) -> list[dict[str, Any]]:
        """The values that a location has: ``key value origin place`` (`terraster.config.origins`), [] if the files do not have it. location:
        its label"""
        if self._settings is None:
            return []
        found = []
        for one in origins(self._load.language, self._settings, with_paths(self._settings), service, location) or ():
            where = _text(self._load.placed((one.path, True, ""))) if one.path else ""
            found.append({"key": one.key, "value": one.value, "origin": one.level, "place": where})
        return found

    def asks(self, address: str) -> str:
        """The service that asks for a listening address, and the place: "service `shop`, terraster.yaml:3:9". Or a port of Terraster's own.
        "" if none does."""
        found = None if self._settings is None else wanted(self._settings, with_paths(self._settings), address)
        if found is None:
            return ""
        path, who = found
        if not path:
            return f"{who}, as the default; {self.files[0]} names no other port for it"
        return f"{who}, {_text(self._load.placed((path, False, '')))}"

    def compared(self, other: Rules) -> list[dict[str, Any]]:
        """The differences from these files to others, see `terraster.config.comparing`; both can be used."""
        return compared(self._load.language, self._side(), other._side())

    def _side(self) -> Side:
        """These files as one side of a comparison."""
        assert self._settings is not None
        return Side(self._settings, with_paths(self._settings), self._where, self._load.edits)

    def _where(self, path: Path) -> str:
        """The place of a path as text; the label of the edit that it is from."""
        place = self._load.placed((path, True, ""))
        return _text(place) or place.file


def _text(place: Problem) -> str:
    """ "terraster.yaml:3:9"; "" if only the file is known."""
    return f"{place.file}:{place.line}:{place.column}" if place.line else ""
