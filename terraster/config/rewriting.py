r"""Targets of rules that rewrite paths: text with the groups of a pattern, ``\1`` to ``\9`` and ``\g<name>``, perhaps with a query.

`terraster.route.rewrite` applies them.
"""

from __future__ import annotations

import re

from .patterns import compile_pattern

__all__ = ["check", "pieces"]

_GROUP = re.compile(r"\\(?:([1-9])|g<([A-Za-z_][A-Za-z0-9_]*)>)|\\")
_PATH = re.compile(r"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/\0]|%(?!00)[0-9A-Fa-f]{2})*")
_QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\0]|%[0-9A-Fa-f]{2})*")


def pieces(target: str) -> list[str]:
    """A target in parts: text and groups (numbers or names) in turn, text first. ValueError for one that is not a path with a query."""
    found, read = [""], 0
    for match in _GROUP.finditer(target):
        found[-1] += target[read : match.start()]
        read = match.end()
        group = match[1] or match[2]
        if not group:
            raise ValueError(r"has a backslash that is not one of \1 to \9 or \g<name>")
        found += [group, ""]
    found[-1] += target[read:]
    plain = "\0".join(found[::2])
    path, _, query = plain.partition("?")
    if not path.startswith("/"):
        raise ValueError(f'must start with "/", not {target!r}')
    if not _PATH.fullmatch(path) or not _QUERY.fullmatch(query):
        raise ValueError("contains characters that must be percent-encoded in a path or a query")
    return found


def check(pattern: str, target: str) -> None:
    """ValueError if the target has a group that the pattern does not have."""
    compiled = compile_pattern(pattern)
    for group in pieces(target)[1::2]:
        if group.isdigit() and int(group) > compiled.groups:
            raise ValueError(rf"has \{group} in `to`, and `match` has {compiled.groups} groups")
        if not group.isdigit() and group not in names(compiled.groupindex):
            raise ValueError(rf"has \g<{group}> in `to`, and `match` has no group of this name")


def names(index: dict[bytes, int] | dict[str, int]) -> dict[str, int]:
    """The numbers of a pattern's groups by name."""
    return {name.decode() if isinstance(name, bytes) else name: number for name, number in index.items()}
