"""YAML text → nodes that know their place → plain values.

Rules
- Composed by libyaml (`yaml.CSafeLoader`'s parser) without PyYAML's tag resolver: every scalar stays the text that it is, and the key
  that takes it knows whether a number or a word for on and off is wanted (`terraster.config.scalars`). So `1.10`, `0x1A2B` and `on`
  are what they look like in a header's value, wherever they come from.
- A key may occur once in a mapping; a second one is a problem, not the winner.
- A key without a value is a problem: a service with an empty `tls:` must not be served in clear by mistake. So are ``null`` and ``~``,
  except as a header's value, which is text.
- ``${NAME}`` and ``${NAME:-default}`` in values come from the environment; ``$$`` is a literal ``$``. In header values
  ``${remote_addr}``, ``${host}`` and the other variables of `header_rules` stay: they are filled per request. So there every other ``$`` is
  handed on as ``$$`` (`terraster.config.header_rules` takes one away), also one that the environment holds. `format` (of an access log)
  is never touched.
- ``<<: *anchor`` merges mappings; explicit keys win. Tags other than ``!!str`` are a problem.

JSON goes through here too: to libyaml it is YAML in flow style.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from . import header_rules, scalars

__all__ = ["Finding", "Reader", "as_written", "compose", "find"]

_DOLLAR = re.compile(r"\$\$|\$\{([^{}]*)\}|\$")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_STR_TAG = "tag:yaml.org,2002:str"
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'")
_TELLING = 3
_DEEPEST = 100
_HARMLESS = 2000
_LOOKAHEAD = 4096
_STAR = re.compile(r"(?:^|[\s\[{,])\*[\w-]*$")
_RESERVED = ("@", "`", "%")
_TAGGED = "tags are not supported: put a text that begins with ! into quotes"  # it may be a secret, so it is not repeated
_TOO_DEEP = f"is nested more than {_DEEPEST} levels deep"

Finding = tuple[int, int, str]
"""Line and column, both from 0, within the text that was composed; and what is wrong there."""


class _Parser(CParser):
    """libyaml's parser as a composer that leaves every tag empty which the text does not give."""

    def resolve(self, kind: type[Node], value: str | None, implicit: Any) -> str:
        return ""

    def descend_resolver(self, parent: Node | None, index: Any) -> None:
        return None

    def ascend_resolver(self) -> None:
        return None


def compose(text: str) -> Node | Finding | None:
    """The root node of a text with one YAML document; None for an empty one; what is wrong, if it is not YAML."""
    try:
        if _may_be_deep(text) and (place := _too_deep(text)) is not None:
            return (*place, _TOO_DEEP)
        root: Node | None = _Parser(text).get_single_node()
        return root
    except yaml.MarkedYAMLError as error:
        if (place := _too_deep(text)) is not None:
            return (*place, _TOO_DEEP)
        words = error.problem or error.context or "it cannot be read"
        mark = error.problem_mark or error.context_mark
        if mark is None:
            return 0, 0, f"not valid YAML: {words}"
        return mark.line, mark.column, f"not valid YAML: {_plainly(words, text, mark.index)}"
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        return (before.count("\n"), len(before) - before.rfind("\n") - 1, f"not valid YAML: {error.reason}")
    except UnicodeEncodeError as error:  # lone surrogates cannot reach libyaml
        before = text[: error.start]
        return (before.count("\n"), len(before) - before.rfind("\n") - 1, "not valid YAML: this character is not valid text")


def _plainly(words: str, text: str, index: int) -> str:
    """The mistake at this place of a text that is not YAML, in plain words where the parser's own words are hard to understand."""
    before = text[text.rfind("\n", 0, index) + 1 : index]
    here = text[index : index + 1]
    if "\t" in (before + here)[: len(before + here) - len((before + here).lstrip())]:
        return "a tab cannot indent a line, use spaces"
    if before.endswith("$") and here == "{":
        return words + '; within { } and [ ] a variable needs quotes: "${NAME}"'
    if _STAR.search(before):
        return words + '; a value that begins with * needs quotes: "*.example.com"'
    if here in _RESERVED and not before.rstrip().endswith(here):
        return f"a value cannot begin with {here} unless it is in quotes"
    return words


def _may_be_deep(text: str) -> bool:
    # libyaml's composer recurses on the C stack: 100,000 brackets kill the process. Depth in flow style is at most the number of
    # brackets, in block style at most the longest line, so an ordinary file needs no look at its events.
    return text.count("[") + text.count("{") > _HARMLESS or max(map(len, text.split("\n"))) > _HARMLESS


def _too_deep(text: str) -> tuple[int, int] | None:
    """The place of the first collection below the deepest level that is read; None if there is none in what can be parsed."""
    depth = read = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            start, end = event.start_mark, event.end_mark
            if start is None or end is None:  # only for events that were made by hand
                continue
            read = end.index
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > _DEEPEST:
                    return start.line, start.column
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.MarkedYAMLError:
        return _too_deep_ahead(text, read, depth)
    return None


def _too_deep_ahead(text: str, read: int, depth: int) -> tuple[int, int] | None:
    """The same for what libyaml scanned and gave no events of: it looks ahead for the end of a key, and since 0.2.6 it refuses 1,000
    brackets while it does. PyYAML's own scanner has no such limit."""
    try:
        for token in yaml.scan(text[read : read + _LOOKAHEAD], Loader=yaml.SafeLoader):
            if isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken):
                depth += 1
                if depth > _DEEPEST:
                    before = text[: read + token.start_mark.index]
                    return before.count("\n"), len(before) - before.rfind("\n") - 1
            elif isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken):
                depth -= 1
    except yaml.YAMLError:
        return None  # the parser's own complaint stands
    return None


def find(node: Node | None, path: tuple[str | int, ...]) -> tuple[Node | None, Node | None]:
    """The key node (None for a list item or the root) and the value node at `path`; the deepest there are, if it ends early."""
    key: Node | None = None
    for step in path:
        child: tuple[Node | None, Node] | None = None
        if isinstance(node, MappingNode) and isinstance(step, str):
            child = _child(node, step, 0)
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
            child = (None, node.value[step])
        if child is None:
            break
        key, node = child
    return key, node


def _child(node: MappingNode, name: str, depth: int) -> tuple[Node, Node] | None:
    merged: tuple[Node, Node] | None = None
    for key, value in node.value:
        if isinstance(key, ScalarNode) and key.value == name:
            return key, value
        if isinstance(key, ScalarNode) and key.value == "<<" and not key.style and depth < _DEEPEST:
            for source in value.value if isinstance(value, SequenceNode) else [value]:
                if merged is None and isinstance(source, MappingNode):
                    merged = _child(source, name, depth + 1)
    return merged


def as_written(words: str, node: Node | None, environ: Mapping[str, str]) -> str:
    """Words about the value of a node (a scalar, or a list of scalars) with what came from the environment put back as it is written
    there: it may be a secret, and what an operator has to look for is ``${NAME}``."""
    for scalar in node.value if isinstance(node, SequenceNode) else [node]:
        if isinstance(scalar, ScalarNode) and "${" in scalar.value:
            words = _put_back(words, scalar, environ)
    return words


def _put_back(words: str, node: ScalarNode, environ: Mapping[str, str]) -> str:
    raw: str = node.value
    full = str(Reader(environ).value(node) or "")
    words = words.replace(repr(full), repr(raw))

    def quoted(match: re.Match[str]) -> str:
        return repr(raw) if match[1] and match[1].lower() in full.lower() and match[1] not in raw else match[0]

    words = _QUOTED.sub(quoted, words)
    for variable in _DOLLAR.finditer(raw):
        parts = _NAME.fullmatch(variable[1] or "")
        value = environ.get(parts[1], "") if parts is not None else ""
        if len(value) < _TELLING or value.isdecimal() or value.lower() in raw.lower():  # a port is public
            continue
        written = variable[0].replace("\\", r"\\")
        words = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", written, words, flags=re.IGNORECASE)
    return words


class Reader:
    """Makes plain values of nodes: dict, list, str. Collects what is wrong in `findings`, and in `consulted`
    every environment variable it looked at with the value it saw (None: not set), so that a cache knows what its entry hangs on.

    `first_line`: the line of the file, from 0, with which the composed text begins; findings count from the file's start.
    `header_values`: the keys that hold values of header fields, each with the key above it (`Language.header_values`)."""

    def __init__(
        self, environ: Mapping[str, str], first_line: int = 0, header_values: frozenset[tuple[str, str]] = frozenset()
    ) -> None:
        self._environ = environ
        self._first_line = first_line
        self._header_values = header_values
        self.findings: list[Finding] = []
        self.consulted: dict[str, str | None] = {}
        self._open: set[int] = set()
        self._shared: dict[tuple[int, bool, str], Any] = {}

    def value(self, node: Node, key: str = "", headers: bool = False) -> Any:
        """The value of a node that stands under `key`; `headers`: it lies within a mapping of header values."""
        if isinstance(node, ScalarNode):
            return self._scalar(node, key, headers)
        if id(node) in self._open:
            self._found(node, "this alias contains itself")
            return None
        if len(self._open) >= _DEEPEST:
            self._found(node, _TOO_DEEP)
            return None
        if node.tag:
            self._found(node, _TAGGED)
        known = self._shared.get((id(node), headers, key))
        if known is not None:
            return known
        self._open.add(id(node))
        result: Any
        if isinstance(node, MappingNode):
            result = self._mapping(node, headers, key)
        else:
            result = [self.value(child, key, headers) for child in node.value]
        self._open.discard(id(node))
        self._shared[id(node), headers, key] = result
        return result

    def _found(self, node: Node, what: str) -> None:
        self.findings.append((self._first_line + node.start_mark.line, node.start_mark.column, what))

    def _mapping(self, node: MappingNode, headers: bool, key_above: str) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merges: list[Node] = []
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._found(key, "a key must be text")
                continue
            name = key.value
            if name == "<<" and not key.style:
                merges.append(value)
                continue
            if name in result:
                first = next(other for other, _ in node.value if isinstance(other, ScalarNode) and other.value == name)
                line = self._first_line + first.start_mark.line + 1
                self._found(key, f"`{name}` is defined twice, first in line {line}")
                continue
            inside = headers or (key_above, name) in self._header_values
            result[name] = self.value(value, name, inside)
        for source in merges:
            for part in source.value if isinstance(source, SequenceNode) else [source]:
                if isinstance(part, MappingNode):
                    merged = self.value(part, key_above, headers)
                    for name, item in (merged or {}).items():
                        result.setdefault(name, item)
                else:
                    self._found(part, "`<<` takes a mapping or a list of mappings")
        return result

    def _scalar(self, node: ScalarNode, key: str, headers: bool) -> Any:
        text: str = node.value
        if node.tag and node.tag != _STR_TAG:
            self._found(node, _TAGGED)
        before = len(self.findings)
        if "$" in text and key != "format":
            text = self._expand(node, text, headers)
        if not node.style and not node.tag and len(self.findings) == before and self._is_nothing(node.value, text, headers):
            self._found(node, f"`{key}` has no value" if key else "a value is missing here")
            return None
        return text

    def _is_nothing(self, written: str, text: str, headers: bool) -> bool:
        """True if a plain scalar means that there is no value. Values from the environment are text, but an empty one sets nothing."""
        return not written or not headers and (written in scalars.NOTHING or not text)

    def _expand(self, node: ScalarNode, text: str, headers: bool) -> str:
        literal = "$$" if headers else "$"

        def one(match: re.Match[str]) -> str:
            if match[1] is None:
                return literal
            if headers and header_rules.is_variable(match[1]):
                return match[0]
            parts = _NAME.fullmatch(match[1])
            if parts is None and headers and match[1].startswith(header_rules.HEADER):
                self._found(node, f"`{match[0]}` has no valid name of a header field: write ${{header.X-Name}}")
                return ""
            if parts is None:
                self._found(
                    node, f"`{match[0]}` is not a valid variable: write ${{NAME}} or ${{NAME:-default}}, or $$ for a literal $"
                )
                return ""
            name, default = parts[1], parts[2]
            found = self._environ.get(name)
            self.consulted[name] = found
            if not found and default is not None:
                found = default.replace("$$", "$")
            if found is None:
                kept = f"; {header_rules.meant(name)}" if headers else ""
                self._found(node, f"the environment variable `{name}` is not set{kept}")
                return ""
            return found.replace("$", literal)

        return _DOLLAR.sub(one, text)
