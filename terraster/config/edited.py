"""A service with edits in it: its document as the reader of YAML gives it, and where each value of it is from."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from . import nodes
from .checks import canonical
from .edits import (
    ADD,
    CONFLICT,
    LOCATION_ADD,
    LOCATION_REMOVE,
    LOCATION_REPLACE,
    LOCATION_SET,
    REMOVE,
    UNKNOWN,
    Dormant,
    Edit,
    same_url,
)
from .ids import label
from .language import Language

__all__ = ["Edited", "location_label"]

Path = tuple[str | int, ...]


def location_label(known: Language, document: Mapping[str, Any]) -> str:
    """The label of a location. Raises ValueError if it cannot have one: `path`, `match` or `name` are wrong."""
    given = {key: document[key] for key in ("path", "match", "name") if key in document}
    model = known.location.model_validate(given)
    return label(canonical(model.path), model.conditions()[1])


class Edited:
    """The document of a service on which edits are made, one after the other. document: as the reader of YAML gives it; it is not changed

    ``value``: the document now; ``dormant``: by number, why edits did nothing.
    """

    def __init__(self, document: dict[str, Any], known: Language) -> None:
        self.value = copy.deepcopy(document)
        self.dormant: dict[int, Dormant] = {}
        self._known = known
        found = self.value.get("locations")
        self._locations: list[Any] = found if isinstance(found, list) else []
        self._made: list[int | Edit] = list(
            range(len(self._locations))
        )  # where each location is from: its number in the file, or an edit
        self._backends: dict[int, list[int | Edit]] = {}  # the same for lists of backends, by the id of the list
        self._keys: dict[tuple[int, str], Edit] = {}  # keys that an edit wrote, by the id of their mapping
        self._last: dict[int, Edit] = {}  # the last edit of a location, by the id of its mapping
        self._gone: list[Any] = []  # what was taken out: kept, as its id must not become another one's

    def make(self, edits: Iterable[Edit]) -> None:
        """Make edits."""
        for edit in edits:
            words = self._make(edit)
            if words is not None:
                self.dormant[edit.number] = words

    def origin(self, path: Path) -> Edit | Path:
        """Where the value at a path of ``value`` is from: an edit, or its path in the document as it was."""
        if len(path) < 2 or path[0] != "locations" or not isinstance(path[1], int) or path[1] >= len(self._locations):
            return path
        location, made = self._locations[path[1]], self._made[path[1]]
        if isinstance(made, Edit):
            return made
        if len(path) == 2 and id(location) in self._last:
            return self._last[id(location)]
        there: list[str | int] = ["locations", made]
        value = location
        for step in path[2:]:
            if isinstance(value, dict) and isinstance(step, str):
                if (id(value), step) in self._keys:
                    return self._keys[id(value), step]
                there.append(step)
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int):
                origins = self._backends.get(id(value))
                source = origins[step] if origins is not None and step < len(origins) else step
                if isinstance(source, Edit):
                    return source
                there.append(source)
                value = value[step] if step < len(value) else None
            else:
                there.append(step)
        return tuple(there)

    def place(self, wanted: str) -> tuple[int, Path] | None:
        """The number of a location, by its label, and the path in it of the mapping that has the backends: itself, or an arm."""
        for number, location in enumerate(self._locations):
            if isinstance(location, dict):
                name = self._label(location)
                if name == wanted:
                    return number, ()
                for position, (arm, _) in enumerate(_arms(location)):
                    if wanted == f"{name}#{arm}":
                        return number, ("split", "to", position)
        return None

    def _make(self, edit: Edit) -> Dormant | None:
        place = f"{edit.service}{edit.location}"
        if edit.kind == LOCATION_ADD:
            if self._find(edit.location) is not None:
                return Dormant(CONFLICT, f"there is a location {place} already")
            self._locations.append(self._read(edit.document, "locations"))
            self._made.append(edit)
            self.value["locations"] = self._locations
            return None
        found = self._find(edit.location)
        if found is None:
            return Dormant(UNKNOWN, f"there is no location {place}")
        number, part = found
        if edit.kind in (LOCATION_REMOVE, LOCATION_REPLACE):
            self._gone.append(self._locations[number])
            if edit.kind == LOCATION_REMOVE:
                del self._locations[number], self._made[number]
            else:
                self._locations[number], self._made[number] = self._read(edit.document, "locations"), edit
            return None
        words = self._in_part(edit, part, place)
        if words is None:
            self._last[id(self._locations[number])] = edit
        return words

    def _in_part(self, edit: Edit, part: dict[str, Any], place: str) -> Dormant | None:
        """part: the location, or the arm"""
        backends = part.get("backends")
        if backends is None and edit.kind == ADD:
            backends = part["backends"] = []
        if not isinstance(backends, list):
            return Dormant(UNKNOWN, f"location {place} has no backends")
        origins = self._backends.setdefault(id(backends), list(range(len(backends))))
        at = next((index for index, one in enumerate(backends) if same_url(_url(one), edit.url)), None)
        if edit.kind == ADD:
            if at is not None:
                where = "already" if isinstance(origins[at], Edit) else "in the file now"
                return Dormant(CONFLICT, f"backend {edit.url} of {place} is {'there already' if where == 'already' else where}")
            backends.append(self._read(edit.document, "backends"))
            origins.append(edit)
        elif edit.kind == LOCATION_SET:
            value = self._read(edit.document, "")
            if "max_connections" in value:
                for index in range(len(backends)):
                    self._set(backends, index, {"max_connections": value["max_connections"]}, edit)
            for key in value.keys() - {"max_connections"}:
                part[key] = value[key]
                self._keys[id(part), key] = edit
        elif at is None:
            return Dormant(UNKNOWN, f"there is no backend {edit.url} in {place}")
        elif edit.kind == REMOVE:
            self._gone.append(backends[at])
            del backends[at], origins[at]
        else:
            self._set(backends, at, self._read(edit.document, "backends"), edit)
        return None

    def _set(self, backends: list[Any], index: int, value: dict[str, Any], edit: Edit) -> None:
        one = backends[index]
        if not isinstance(one, dict):
            one = backends[index] = {"url": one}
        for key, item in value.items():
            one[key] = item
            self._keys[id(one), key] = edit

    def _find(self, wanted: str) -> tuple[int, dict[str, Any]] | None:
        """The number of a location, and the mapping that has the backends: its own, or that of an arm."""
        found = self.place(wanted)
        if found is None:
            return None
        part = self._locations[found[0]]
        for step in found[1]:
            part = part[step]
        return found[0], part

    def _label(self, location: dict[str, Any]) -> str:
        try:
            return location_label(self._known, location)
        except ValueError:
            return str(location.get("path", ""))

    def _read(self, document: Any, key: str) -> Any:
        """A document of an edit as the reader of YAML gives one: all scalars are text, and a `$` of a header's value is doubled."""
        return nodes.Reader({}, 0, self._known.header_values).value(_node(document), key)


class _Mark:
    line = column = index = 0


def _node(value: Any) -> Node:
    mark: Any = _Mark
    if isinstance(value, dict):
        return MappingNode("", [(ScalarNode("", str(key), mark, mark), _node(item)) for key, item in value.items()], mark, mark)
    if isinstance(value, list):
        return SequenceNode("", [_node(item) for item in value], mark, mark)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return ScalarNode("", text, mark, mark, style='"')


def _arms(location: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    split = location.get("split")
    to = split.get("to") if isinstance(split, dict) else None
    for position, arm in enumerate(to if isinstance(to, list) else (), 1):
        if isinstance(arm, dict):
            yield str(arm.get("name") or position), arm


def _url(backend: Any) -> str:
    return str(backend.get("url", "")) if isinstance(backend, dict) else str(backend)
