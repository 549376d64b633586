"""A services file cut into its items without parsing it, so that a reload parses only what changed.

Parsing YAML is most of what loading costs: 10,000 services take seconds, and a reload that changes one of them would stop the
master for as long. So a text in a plain style is cut at the lines that begin an item of the top-level `services:` list, and each
item's text is a key into the loader's cache.

When is that safe? The cut must give what a YAML parser would give, so only texts are cut whose every line is of one of these
shapes (`_LINE`), with an indentation of spaces:

    blank or comment        key:        key: scalar        - scalar        - key:        - key: scalar

where a scalar is plain (words that cannot hold an indicator that matters), or quoted and closed on its line, or a flow list of
such words. Nothing of that can carry state over a line's end except a plain scalar continued by deeper indented lines, and those
end at any line that is indented no deeper than its mapping. So with items beginning at column n, all their other
lines deeper than n, and `services:` at column 0 without a value, no item can reach into the next or out of the list: each is a
complete block sequence of one element, and so is it when parsed alone. Anchors, aliases, tags, block scalars, several documents,
directives, tabs, odd line ends, a second `services:` or text at other depths: not cut, parsed whole. tests/test_config_incremental.py
holds the cut to the whole parse with generated texts.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

__all__ = ["Piece", "Pieces", "cut", "regular"]

_PLAIN = r"(?:[A-Za-z0-9_./$~]|-(?=[A-Za-z0-9_./$]))(?:[^\s:]|:(?=\S))*(?:[ ]+(?:[^\s#:]|:(?=\S))(?:[^\s:]|:(?=\S))*)*"
_QUOTED = r"\"[^\"\\\n]*\"|'(?:[^'\n]|'')*'"
_KEY = r"[A-Za-z_][A-Za-z0-9_-]*"
_SPACES = "[ ]*"


def _entries(entry: str) -> str:
    """Entries with commas between them, or none, up to the bracket that closes them. The entry is written here once: patterns are nested
    below, and one that is repeated on each level costs the `re` module a tenth of a second at every start."""
    return rf"{_SPACES}(?:{entry}{_SPACES}(?:,{_SPACES}(?![\]}}])|(?=[\]}}])))*"


def _list(entry: str) -> str:
    return rf"\[{_entries(entry)}\]"


def _mapping(value: str) -> str:
    return rf"\{{{_entries(rf'{_KEY}:[ ]+{value}')}\}}"


_WORD = rf"(?:[A-Za-z0-9_./](?:[A-Za-z0-9_./-]|:(?=[A-Za-z0-9_/]))*|{_QUOTED})"
_SHALLOW = rf"(?:{_WORD}|{_list(_WORD)}|{_mapping(_WORD)})"
_DEEPER = rf"(?:{_WORD}|{_list(_SHALLOW)}|{_mapping(_SHALLOW)})"
_SCALAR = rf"(?:{_PLAIN}|{_QUOTED}|{_list(_DEEPER)}|{_mapping(_DEEPER)})"
_LINE = re.compile(rf"[ ]*(?:(?:-[ ]+)?{_KEY}:|(?:(?:-[ ]+)?{_KEY}:|-)[ ]+{_SCALAR})?(?:(?:^|[ ])[ ]*#.*|[ ]*)")
_STRANGE_OF_ASCII = re.compile("[^\n -~]")
_SERVICES = re.compile(r"^services:[ ]*(?:#.*)?$", re.MULTILINE)
_MENTION = re.compile(r"^services:", re.MULTILINE)
_TOP_KEY = re.compile(r"^[^\s#-]", re.MULTILINE)
_FIRST = re.compile(r"^([ ]*)-[ ]", re.MULTILINE)


class Piece(NamedTuple):
    """One item of the list: its text (whole lines, its own indentation) and the line it begins in, from 0."""

    text: str
    line: int


class Pieces(NamedTuple):
    """A text in pieces. ``skeleton`` is the text with the items' lines left empty, so its lines have their numbers."""

    skeleton: str
    items: list[Piece]


@cache
def _strange() -> re.Pattern[str]:
    """Controls, other line ends, and what libyaml does not take for printable. Made at its first use: it takes 3 ms."""
    return re.compile("[^\n -~\u00a1-\u1fff\u3000-\ud7ff]")


def _is_strange(text: str) -> bool:
    return (_STRANGE_OF_ASCII if text.isascii() else _strange()).search(text) is not None


def regular(piece: str) -> bool:
    """True if an item's text may be parsed alone: every line is of a known shape, and deeper than the first."""
    if _is_strange(piece):
        return False
    lines = piece.split("\n")
    depth = len(lines[0]) - len(lines[0].lstrip(" "))
    for number, line in enumerate(lines):
        if _LINE.fullmatch(line) is None:
            return False
        content = line.lstrip(" ")
        if number and content and content[0] != "#" and len(line) - len(content) <= depth:
            return False
    return True


def cut(text: str) -> Pieces | None:
    """The pieces of a text, or None if it is not certain how to cut it.

    The items are not checked: before the caller uses one, it must know that the item is `regular` (because it was cached, or by asking). If one
    is not, the caller must parse the whole text.
    """
    found = _SERVICES.search(text)
    if found is None:
        return None
    begin = found.end() + 1
    after = _TOP_KEY.search(text, begin)
    end = after.start() if after is not None else len(text)
    first = _FIRST.search(text, begin, end)
    if first is None:
        return None
    lead = text[begin : first.start()]
    skeleton = text[: first.start()] + "\n" * text.count("\n", first.start(), end) + text[end:]
    if (
        any(content and not content.startswith("#") for content in map(str.strip, lead.split("\n")))
        or len(_MENTION.findall(skeleton)) != 1
        or _is_strange(skeleton)
        or not all(map(_LINE.fullmatch, skeleton.split("\n")))
    ):
        return None
    starts = [match.start() for match in re.compile(rf"^{first[1]}-[ ]", re.MULTILINE).finditer(text, begin, end)]
    items = []
    line = text.count("\n", 0, starts[0])
    for start, stop in zip(starts, [*starts[1:], end], strict=True):
        piece = text[start:stop]
        items.append(Piece(piece, line))
        line += piece.count("\n")
    return Pieces(skeleton, items)
