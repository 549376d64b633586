"""Edits written into the text of a configuration file, line by line: comments, order and all other lines stay as they are.

A place that is not plain is refused with the reason: lists and mappings in one line (`[…]`, `{…}`) that would have to grow, anchors,
aliases, odd line ends. Afterwards the text is read again: it must say what the file said with the edit, and nothing else.

Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from . import nodes
from .edited import Edited
from .edits import ADD, LOCATION_ADD, LOCATION_REMOVE, LOCATION_REPLACE, LOCATION_SET, REMOVE, SET, Edit, same_url
from .language import Language

__all__ = ["Unwritable", "pasted", "with_edit"]

Path = tuple[str | int, ...]


class Unwritable(Exception):
    """An edit cannot be written into the text."""


def with_edit(text: str, service: int | None, edit: Edit, environ: Mapping[str, str], known: Language) -> str:
    """The text with an edit in it. service: the index of its service in `services`, None: the top's `backends`. Raises Unwritable."""
    if edit.kind in (SET, LOCATION_SET) and len(edit.document) > 1:
        for key, value in edit.document.items():
            text = with_edit(text, service, replace(edit, value=json.dumps({key: value})), environ, known)
        return text
    if "\r" in text or "\t" in text:
        raise Unwritable("the file has tabs or line ends of another system")
    root = nodes.compose(text)
    if not isinstance(root, MappingNode):
        raise Unwritable("the file is not a mapping")
    _refuse_anchors(text)
    before = _value(root, environ, known)
    wanted = _with(before, service, edit, known)
    page = _Page(text, root)
    _change(page, before, service, edit, known)
    written = "".join(page.lines)
    after = nodes.compose(written)
    if not isinstance(after, MappingNode) or _value(after, environ, known) != wanted:
        raise Unwritable("it cannot be written there without changing something else")
    return written


def pasted(edit: Edit) -> str:
    """The YAML of an edit, for an operator who has to write it."""
    place = f"# service {edit.service}, location {edit.location}"
    if edit.kind == REMOVE:
        return f"{place}: remove the backend {edit.url}\n"
    if edit.kind == LOCATION_REMOVE:
        return f"{place}: remove it\n"
    document = edit.document
    if edit.kind in (ADD, LOCATION_ADD, LOCATION_REPLACE):
        return f"{place}\n" + "".join(_item(document, 0))
    if edit.kind == LOCATION_SET:
        return f"{place} (max_connections: of each backend)\n" + _dumped(document)
    return f"{place}, backend {edit.url}\n" + _dumped(document)


class _Page:
    """A text in lines, and its nodes, whose marks hold for the text as it was: changes are made from the end to the start."""

    def __init__(self, text: str, root: Node) -> None:
        self.root = root
        self.lines = text.splitlines(keepends=True)
        if self.lines and not self.lines[-1].endswith("\n"):
            self.lines[-1] += "\n"

    def remove(self, item: Node) -> None:
        """Remove an item of a list in block style."""
        first = item.start_mark.line
        if not self.lines[first].lstrip(" ").startswith("-"):
            raise Unwritable(f"line {first + 1} does not begin with the item")
        del self.lines[first : _last(item) + 1]

    def set(self, mapping: Node, key: str, value: Any) -> None:
        """Set a key of a backend or a location."""
        text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")
        if isinstance(mapping, ScalarNode):
            line, column = mapping.start_mark.line, mapping.start_mark.column
            if mapping.end_mark.line != line:
                raise Unwritable(f"line {line + 1} has a value of several lines")
            whole = self.lines[line]
            self.lines[line] = f"{whole[:column]}url: {whole[column:]}"
            self.lines.insert(line + 1, f"{' ' * column}{key}: {text}\n")
            return
        assert isinstance(mapping, MappingNode)
        there = next((value for name, value in mapping.value if isinstance(name, ScalarNode) and name.value == key), None)
        if there is not None:
            line = there.start_mark.line
            if not isinstance(there, ScalarNode) or there.end_mark.line != line or there.style in ("|", ">"):
                raise Unwritable(f"line {line + 1} has a value of several lines")
            whole = self.lines[line]
            self.lines[line] = f"{whole[: there.start_mark.column]}{text}{whole[there.end_mark.column :]}"
        elif mapping.flow_style:
            line, column = mapping.end_mark.line, mapping.end_mark.column - 1
            whole = self.lines[line]
            self.lines[line] = f"{whole[:column].rstrip()}, {key}: {text}{whole[column:]}"
        else:
            first = mapping.value[0]
            self.lines.insert(_last(first[1]) + 1, f"{' ' * mapping.start_mark.column}{key}: {text}\n")

    def add(self, sequence: Node, document: Any) -> None:
        """Append an item to a list in block style."""
        last = sequence.value[-1]
        self.lines[_last(last) + 1 : _last(last) + 1] = _item(document, sequence.start_mark.column)


def _change(page: _Page, before: dict[str, Any], service: int | None, edit: Edit, known: Language) -> None:
    top = service is None
    here: Path = () if top else ("services", service or 0, "locations")
    document = (
        {"locations": [{"path": "/", "backends": before.get("backends")}]} if service is None else before["services"][service]
    )
    found = Edited(document, known).place(edit.location)
    if edit.kind == LOCATION_ADD:
        page.add(_block(page, here, "locations"), edit.document)
        return
    if found is None:
        raise Unwritable(f"there is no location {edit.service}{edit.location} in the file")
    number, inside = found
    place: Path = () if top else (*here, number)
    if edit.kind in (LOCATION_REMOVE, LOCATION_REPLACE):
        sequence = _block(page, here, "locations")
        item = sequence.value[number]
        first, column = item.start_mark.line, sequence.start_mark.column
        page.remove(item)
        if edit.kind == LOCATION_REPLACE:
            page.lines[first:first] = _item(edit.document, column)
        return
    part: Path = (*place, *inside)
    _, backends = nodes.find(page.root, (*part, "backends"))
    if not isinstance(backends, SequenceNode):
        raise Unwritable(f"location {edit.service}{edit.location} has no list of backends in the file")
    if edit.kind == ADD:
        page.add(_block(page, (*part, "backends"), "backends"), edit.document)
        return
    if edit.kind == LOCATION_SET:
        value = edit.document
        if "max_connections" in value:
            for item in reversed(backends.value):
                page.set(item, "max_connections", value["max_connections"])
        if "lb_policy" in value:
            _, mapping = nodes.find(page.root, part)
            assert mapping is not None
            page.set(mapping, "algorithm" if top else "lb_policy", value["lb_policy"])
        return
    items = [item for item in backends.value if same_url(_url(item), edit.url)]
    if len(items) != 1:
        raise Unwritable(f"there is no backend {edit.url} in {edit.service}{edit.location} of the file")
    if edit.kind == REMOVE:
        _block(page, (*part, "backends"), "backends")
        page.remove(items[0])
        return
    for key, value in edit.document.items():
        page.set(items[0], key, value)


def _block(page: _Page, path: Path, name: str) -> SequenceNode:
    """The list at a path, if it is in block style. Raises Unwritable."""
    _, node = nodes.find(page.root, path)
    if not isinstance(node, SequenceNode) or node.flow_style or not node.value:
        line = node.start_mark.line + 1 if node is not None else 0
        raise Unwritable(f"`{name}` is written in one line (line {line}): write it with an item on each line")
    return node


def _last(node: Node) -> int:
    """The last line of a node, from 0."""
    if isinstance(node, ScalarNode):
        if node.style in ("|", ">"):
            raise Unwritable(f"line {node.start_mark.line + 1} has a value of several lines")
        return int(node.end_mark.line)
    assert isinstance(node, MappingNode | SequenceNode)
    if node.flow_style:
        return int(node.end_mark.line)
    if not node.value:
        return int(node.start_mark.line)
    last = node.value[-1]
    return _last(last[1] if isinstance(node, MappingNode) else last)


def _dumped(document: Any) -> str:
    return str(yaml.safe_dump(document, default_flow_style=False, sort_keys=False, width=1000, allow_unicode=True))


def _item(document: Any, column: int) -> list[str]:
    """An item of a list, in lines."""
    lines = _dumped(document).splitlines(keepends=True)
    return [f"{' ' * column}{'  ' if number else '- '}{line}" for number, line in enumerate(lines)]


def _url(item: Node) -> str:
    if isinstance(item, ScalarNode):
        return str(item.value)
    _, value = nodes.find(item, ("url",))
    return str(value.value) if isinstance(value, ScalarNode) else ""


def _refuse_anchors(text: str) -> None:
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if getattr(event, "anchor", None):
            line = event.start_mark.line + 1 if event.start_mark is not None else 0
            raise Unwritable(f"the file has an anchor or an alias (line {line})")


def _value(root: Node, environ: Mapping[str, str], known: Language) -> dict[str, Any]:
    reader = nodes.Reader(environ, 0, known.header_values)
    value = reader.value(root)
    if reader.findings or not isinstance(value, dict):
        raise Unwritable("the file has mistakes")
    return value


def _with(before: dict[str, Any], service: int | None, edit: Edit, known: Language) -> dict[str, Any]:
    """The value of the file with the edit."""
    if service is None:
        made = Edited({"locations": [{"path": "/", "backends": before["backends"]}]}, known)
        made.make((edit,))
        location = made.value["locations"][0]
        more = {"algorithm": location["lb_policy"]} if "lb_policy" in location else {}
        wanted = {**before, "backends": location["backends"], **more}
    else:
        made = Edited(before["services"][service], known)
        made.make((edit,))
        services = [*before["services"]]
        services[service] = made.value
        wanted = {**before, "services": services}
    if made.dormant:
        raise Unwritable(made.dormant[edit.number].words)
    return wanted
