"""One file of a configuration: its text, the values of its top level, its services, and the place of everything in it.

A Source reads as little as it may: if the text can be cut (`terraster.config.incremental`), services whose text is in the cache are
taken from there, and only the others are parsed. A place is looked up only for a complaint, by parsing the one piece that the
complaint is about.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from yaml.nodes import MappingNode, Node, SequenceNode

from ..errors import Problem
from . import checks, incremental, nodes
from .edited import Edited
from .edits import Edit
from .finds import Finder, Finds
from .language import Language
from .messages import Beside, Complaint, complaints
from .settings import DEFAULT_SERVICE, ServiceSettings
from .settings.base import read_secret

__all__ = ["Cache", "Item", "Source", "validated"]

Path = tuple[str | int, ...]
_PAUSE_EVERY = 50
_PLACE = ((), ("host",), ("port",), ("listen",), ("tls",), ("proxy_protocol",))


class Item(NamedTuple):
    """One service without its place: what may be kept.

    ``consulted``, ``secrets``: what the environment and secret files said. ``placed``: False if what is faulty may be its hosts or
    addresses, so that collisions with other services are not checked.
    """

    settings: ServiceSettings
    finds: Finds
    consulted: tuple[tuple[str, str | None], ...]
    secrets: tuple[tuple[str, str | None], ...]
    placed: bool = True

    def holds(self, environ: Mapping[str, str]) -> bool:
        """True if the environment and the secret files still say what they said."""
        return all(environ.get(name) == value for name, value in self.consulted) and all(
            read_secret(path) == value for path, value in self.secrets
        )


class Cache:
    """The items of the last good load and of those since, by directory and text. `pause` is called between fresh items."""

    def __init__(self, environ: Mapping[str, str], pause: Callable[[], None], known: Language) -> None:
        self.language = known
        self.environ = environ
        self.finder = Finder(known)
        self.pause = pause
        self._old: dict[tuple[str, str], Item] = {}
        self._new: dict[tuple[str, str], Item] = {}
        self._fresh = 0

    def speaking(self, known: Language) -> Cache:
        """An empty cache for another language."""
        return Cache(self.environ, self.pause, known)

    def get(self, directory: str, text: str) -> Item | None:
        """The item of this text, if it would come out the same today."""
        item = self._new.get((directory, text)) or self._old.get((directory, text))
        if item is None or ((item.consulted or item.secrets) and not item.holds(self.environ)):
            return None
        self._new[directory, text] = item
        return item

    def put(self, directory: str, text: str, item: Item) -> None:
        """Remember an item."""
        self._new[directory, text] = item

    def fresh(self) -> None:
        """To be called for each item that had to be parsed."""
        self._fresh += 1
        if self._fresh % _PAUSE_EVERY == 0:
            self.pause()

    def loaded(self, good: bool) -> None:
        """A load has ended: forget what a good one did not use."""
        self._old = self._new if good else {**self._old, **self._new}
        self._new = {}


class Source:
    """One file. ``top``: the values of its top level without `services`; ``items``: its services with their index in the list;
    ``problems``: what is wrong with the text and with single services."""

    def __init__(self, file: str, text: str, cache: Cache) -> None:
        self.file = file
        self.directory = os.path.dirname(os.path.abspath(file))
        self.top: dict[str, Any] = {}
        self.items: list[tuple[int, Item]] = []
        self.problems: list[Problem] = []
        self._cache = cache
        self._root: Node | None = None
        self._pieces: list[incremental.Piece] = []
        self._noted: set[tuple[int, int]] = set()
        self._edited: dict[int, Edited] = {}  # services with edits in them, by index; -1: the one that the top's `backends` make
        if not self._read_pieces(text):
            self._read_whole(text)

    def place(self, path: Path, key: bool = False) -> tuple[int, int]:
        """Line and column, from 1, of the value at `path`, or of its key; of the nearest thing there is, if there is none."""
        offset, key_node, value_node = self._find(path)
        target = key_node if key and key_node is not None else value_node
        if target is None:
            return offset + 1, 1
        return offset + target.start_mark.line + 1, target.start_mark.column + 1

    def problem(self, complaint: Complaint) -> Problem:
        """A complaint about this file with its place, quoting values as they are written there."""
        path, key, words = complaint
        if isinstance(words, Beside):
            there = self._origin((*path[:2], *words.there))
            line, column = (0, 0) if isinstance(there, Edit) else self.place(there)
            words = words.replace("{there}", there.label if isinstance(there, Edit) else f"{self.file}:{line}:{column}")
        origin = self._origin(path)
        if isinstance(origin, Edit):
            return Problem(origin.label, 0, 0, words)
        path = origin
        return Problem(self.file, *self.place(path, key), nodes.as_written(words, self._find(path)[2], self._cache.environ))

    def complain(self, complaint: Complaint) -> None:
        """Keep a complaint about this file, unless the reader found something at the very same place."""
        problem = self.problem(complaint)
        if (problem.line, problem.column) not in self._noted:
            if self._edited and str(problem) in map(str, self.problems):
                return  # the service was looked at before it was edited, too
            self.problems.append(problem)

    def edit(self, service: str, edits: Sequence[Edit]) -> Edited | None:
        """Make edits in a service of this file. None if the file does not have it, or has it in a form that cannot be read."""
        number = next((at for at, (_, item) in enumerate(self.items) if item.settings.label == service), None)
        if number is None:
            return self._edit_top(edits) if service == DEFAULT_SERVICE and "backends" in self.top else None
        index = self.items[number][0]
        offset, _, node = self._find(("services", index))
        reader = nodes.Reader(self._cache.environ, offset, self._cache.language.header_values)
        value = reader.value(node, "services") if isinstance(node, MappingNode) else None
        if not isinstance(value, dict) or reader.findings:
            return None
        made = self._edited[index] = Edited(value, self._cache.language)
        made.make(edits)
        text = json.dumps(made.value)
        item = self._cache.get(self.directory, text)
        if item is None:
            self._cache.fresh()
            item, good = self._item(index, made.value, reader.consulted)
            if item is not None and good:
                self._cache.put(self.directory, text, item)
        if item is not None:
            self.items[number] = index, item
        return made

    def _edit_top(self, edits: Sequence[Edit]) -> Edited:
        """The same for the service that the top's `backends` make. Its algorithm is the top's, which must have no other services then."""
        location = {"path": "/", "backends": self.top["backends"]}
        made = self._edited[-1] = Edited({"locations": [location]}, self._cache.language)
        made.make(edits)
        (location, *_) = made.value["locations"] or [{"backends": []}]
        self.top = {**self.top, "backends": location["backends"]}
        if "lb_policy" in location:
            self.top["algorithm"] = location["lb_policy"]
        return made

    def _origin(self, path: Path) -> Edit | Path:
        """The path in the text of what is at a path now, or the edit that it is from."""
        if self._edited and path[:1] == ("backends",) and -1 in self._edited:
            origin = self._edited[-1].origin(("locations", 0, *path))
            return origin if isinstance(origin, Edit) else origin[2:]
        if self._edited and len(path) > 1 and path[0] == "services" and path[1] in self._edited:
            origin = self._edited[path[1]].origin(path[2:])
            return origin if isinstance(origin, Edit) else (*path[:2], *origin)
        return path

    def _find(self, path: Path) -> tuple[int, Node | None, Node | None]:
        """The line from 0 that the lines of nodes count from, the key node and the value node at `path`."""
        offset, node, steps = 0, self._root, path
        if self._pieces and len(path) > 1 and path[0] == "services" and isinstance(path[1], int):
            piece = self._pieces[path[1]]
            found = nodes.compose(piece.text)
            offset, steps = piece.line, path[2:]
            node = found.value[0] if isinstance(found, SequenceNode) else None
        return offset, *nodes.find(node, steps)

    def _found(self, finding: nodes.Finding) -> None:
        place = finding[0] + 1, finding[1] + 1
        self._noted.add(place)
        self.problems.append(Problem(self.file, *place, finding[2]))

    def _read_pieces(self, text: str) -> bool:
        parts = incremental.cut(text)
        if parts is None:
            return False
        root = nodes.compose(parts.skeleton)
        if not isinstance(root, MappingNode):
            return False
        found: list[tuple[incremental.Piece, Item | None]] = []
        for piece in parts.items:
            known = self._cache.get(self.directory, piece.text)
            if known is None and not incremental.regular(piece.text):
                return False
            found.append((piece, known))
        self._root, self._pieces = root, parts.items
        rest = [pair for pair in root.value if pair[0].value != "services"]
        self._read_value(MappingNode("", rest, root.start_mark, root.end_mark), 0)
        for index, (piece, known) in enumerate(found):
            item = known
            if item is None:
                root = nodes.compose(piece.text)
                if not isinstance(root, SequenceNode) or len(root.value) != 1:  # libyaml words its complaints by what is around
                    self._forget()
                    return False
                item = self._read_piece(index, piece, root.value[0])
            if item is not None:
                self.items.append((index, item))
        return True

    def _forget(self) -> None:
        self._root, self._pieces, self.top = None, [], {}
        self.items.clear()
        self.problems.clear()
        self._noted.clear()

    def _read_piece(self, index: int, piece: incremental.Piece, node: Node) -> Item | None:
        self._cache.fresh()
        reader = nodes.Reader(self._cache.environ, piece.line, self._cache.language.header_values)
        value = reader.value(node, "services")
        for finding in reader.findings:
            self._found(finding)
        item, good = self._item(index, value, reader.consulted)
        if item is not None and good and not reader.findings:
            self._cache.put(self.directory, piece.text, item)
        return item

    def _read_whole(self, text: str) -> None:
        root = nodes.compose(text)
        if root is None:
            return
        if isinstance(root, tuple):
            self._found(root)
            return
        self._root = root
        if not isinstance(root, MappingNode):
            self._found(
                (root.start_mark.line, root.start_mark.column, "a configuration must be a mapping of keys, like `port: 8080`")
            )
            return
        services = self._read_value(root, 0)
        if services is None:
            return
        if not isinstance(services, list):
            self.complain((("services",), False, "`services` must be a list"))
            return
        for index, value in enumerate(services):
            self._cache.fresh()
            item, _ = self._item(index, value, {})
            if item is not None:
                self.items.append((index, item))

    def _read_value(self, node: MappingNode, line: int) -> Any:
        reader = nodes.Reader(self._cache.environ, line, self._cache.language.header_values)
        self.top = reader.value(node) or {}
        for finding in reader.findings:
            self._found(finding)
        return self.top.pop("services", None)

    def _item(self, index: int, value: Any, consulted: Mapping[str, str | None]) -> tuple[Item | None, bool]:
        here: Path = ("services", index)
        model: type[ServiceSettings] = self._cache.language.service
        secrets: dict[str, str | None] = {}
        context = {"directory": self.directory, "consulted": secrets}
        service, wrong = validated(self._cache.language, model, value, context, here)
        if service is None and isinstance(value, dict):  # no name is left: it gets one, so that the rest is looked at
            service, _ = validated(self._cache.language, model, {**value, "name": f"services[{index}]"}, context, here)
        placed = not any(key or path[2:3] in _PLACE for path, key, _ in wrong if len(path) <= 4)
        if service is not None:
            wrong += [
                ((*here, *path), key, words) for path, key, words in checks.of_service(self._cache.language, service, not wrong)
            ]
        for complaint in wrong:
            self.complain(complaint)
        if service is None:
            return None, False
        item = Item(service, self._cache.finder.find(service), tuple(consulted.items()), tuple(secrets.items()), placed)
        return item, not wrong


ModelT = TypeVar("ModelT", bound=BaseModel)


def validated(
    known: Language, model: type[ModelT], value: Any, context: dict[str, Any], prefix: Path = ()
) -> tuple[ModelT | None, list[Complaint]]:
    """The model of a value, and what is wrong with it. If something is wrong, the model is made without the faulty keys (None if
    that fails too): good enough to look for further problems, not to run."""
    try:
        return model.model_validate(value, context=context), []
    except ValidationError as error:
        wrong = list(complaints(error, known, model, prefix))
        rest = copy.deepcopy(value)
        for details in error.errors(include_url=False, include_input=False, include_context=False):
            _remove(rest, details["loc"])
    try:
        return model.model_validate(rest, context=context), wrong
    except ValidationError:
        return None, wrong


def _remove(value: Any, path: tuple[str | int, ...]) -> None:
    """Take the deepest key of `path` out of nested mappings; list items stay where they are, so that their numbers hold."""
    last: tuple[dict[str, Any], str] | None = None
    for step in path:
        if isinstance(value, dict) and isinstance(step, str) and step in value:
            last = value, step
            value = value[step]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            break
    if last is not None:
        last[0].pop(last[1], None)
