r"""Hosts that are regular expressions: ``~^shop[0-9]+\.example$``.

An expression is for the whole name, as it is in the router: in lower case, without a port and a final dot. Upper and lower case are the same
to it. Which names two expressions share is not computed. `examples` makes some names that one matches, which is enough to see that another
service takes them.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .patterns import Pattern, compile_pattern

__all__ = ["compiled", "examples", "is_pattern", "matches"]

_MOST = 8
"""Examples of one expression, and ways through one part of it."""
_LONGEST = 1024
_DEEPEST = 20
"""Groups within groups for which there are examples."""
_GROUP = re.compile(r"\?(?:P?<[A-Za-z_][A-Za-z0-9_]*>|:)")
_REPEAT = re.compile(r"(?:([*+?])|\{([0-9]+)(?:,[0-9]*)?\})[?+]?")
_CHARACTERS = "0a1b-.zx2_"
_CLASSES = {"d": "0", "w": "a", "D": "a", "S": "a", "W": "-"}
_NOTHING = frozenset("AzbB")


def is_pattern(host: str) -> bool:
    """True if a host is a regular expression."""
    return host.startswith("~")


@lru_cache(maxsize=4096)
def compiled(host: str) -> Pattern:
    """The expression of a host. ValueError, with words that follow "`host` …"."""
    written = host[1:]
    if not written:
        raise ValueError("has no regular expression behind ~")
    if len(written) > _LONGEST or not written.isascii():
        raise ValueError(f"is a regular expression with more than {_LONGEST} characters, or with some that are not ASCII")
    return compile_pattern(written, folds_case=True)


def matches(host: str, name: str) -> bool:
    """True if an expression matches a name, which is in lower case."""
    return compiled(host).fullmatch(name.encode("utf-8")) is not None


@lru_cache(maxsize=4096)
def examples(host: str) -> tuple[str, ...]:
    """Some names that an expression matches; none if it is too strange."""
    try:
        found, end = _alternatives(host[1:], 0, _DEEPEST)
    except (IndexError, ValueError):
        return ()
    if end < len(host) - 1:
        return ()
    return tuple([name for name in dict.fromkeys(one.lower() for one in found) if name and matches(host, name)][:_MOST])


def _alternatives(text: str, at: int, deeper: int) -> tuple[list[str], int]:
    """Texts that an expression reads from here to the end of its group, and where that is. deeper: groups that may be within this one"""
    found: list[str] = []
    ways = [""]
    while at < len(text) and text[at] != ")":
        if text[at] == "|":
            found += ways
            ways, at = [""], at + 1
            continue
        part, at = _part(text, at, deeper)
        repeat = _REPEAT.match(text, at)
        if repeat is not None:
            at = repeat.end()
            if repeat[1] in ("*", "?"):
                part = [*part, ""]
            elif repeat[2]:
                part = [one * int(repeat[2]) for one in part] if int(repeat[2]) <= _LONGEST else []
        ways = [before + one for before in ways for one in part][:_MOST]
    return [*found, *ways][: 4 * _MOST], at


def _part(text: str, at: int, deeper: int) -> tuple[list[str], int]:
    """Texts that the next part of an expression reads, and where it ends."""
    character = text[at]
    if character == "(":
        kind = _GROUP.match(text, at + 1)
        if kind is None and text[at + 1] == "?":
            raise ValueError("a group with flags")
        if not deeper:
            raise ValueError("too many groups within each other")
        found, end = _alternatives(text, at + 1 if kind is None else kind.end(), deeper - 1)
        return found, end + 1
    if character == "[":
        end = text.index("]", at + (3 if text[at + 1] == "^" else 2)) + 1
        read = compile_pattern(text[at:end])
        return [one for one in _CHARACTERS if read.fullmatch(one.encode())][:1], end
    if character == "\\":
        escaped = text[at + 1]
        if escaped.isalnum() and escaped not in _CLASSES and escaped not in _NOTHING:
            raise ValueError("an escape that is not read here")
        return [_CLASSES.get(escaped, "" if escaped in _NOTHING else escaped)], at + 2
    return ["" if character in "^$" else "a" if character == "." else character], at + 1
