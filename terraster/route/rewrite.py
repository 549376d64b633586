"""Paths rewritten by regular expressions (`terraster.config.rewriting`).

A rule applies to a canonical path that its pattern matches as a whole; the first such rule counts. The new path is made canonical again, so no
group makes a dot segment. In a group that goes into a query, the characters that separate parameters are percent-encoded: no path of a client
adds one.
"""

from __future__ import annotations

from ..config.patterns import compile_pattern
from ..config.rewriting import names, pieces
from .target import canonical

__all__ = ["Rewrites"]

_SEPARATORS = ((b"&", b"%26"), (b"+", b"%2B"), (b";", b"%3B"), (b"=", b"%3D"))


class _Rule:
    """matches: gives the groups of a path. parts: octets, and numbers of groups. query: index of the part in which the query begins."""

    __slots__ = ("_parts", "_pattern", "_query")

    def __init__(self, pattern: str, target: str) -> None:
        self._pattern = compile_pattern(pattern)
        numbers = names(self._pattern.groupindex)
        parts: list[bytes | int] = []
        self._query = 1 << 30
        for at, part in enumerate(pieces(target)):
            if at % 2:
                parts.append(int(part) if part.isdigit() else numbers[part])
            else:
                parts.append(part.encode("ascii"))
                if "?" in part:
                    self._query = min(self._query, at)
        self._parts = tuple(parts)

    def apply(self, path: bytes) -> bytes | None:
        """The target for a path, None if the pattern does not match it."""
        match = self._pattern.fullmatch(path)
        if match is None:
            return None
        out = b""
        for at, part in enumerate(self._parts):
            if isinstance(part, bytes):
                out += part
                continue
            group: bytes = match[part] or b""
            if at > self._query:
                for character, encoded in _SEPARATORS:
                    group = group.replace(character, encoded)
            out += group
        return out


class Rewrites:
    """The rules of a location."""

    __slots__ = ("_rules",)

    def __init__(self, rules: tuple[tuple[str, str], ...]) -> None:
        """rules: patterns and targets, checked (`terraster.config.rewriting.check`)"""
        self._rules = tuple(_Rule(*rule) for rule in rules)

    def apply(self, path: bytes) -> bytes | None:
        """The path for the backend, with a query behind "?" if the rule has one; None if no rule matches. Raises `BadRequest` (400) for a path
        above the root."""
        for rule in self._rules:
            target = rule.apply(path)
            if target is not None:
                made, query = canonical(target, False)
                return b"%b?%b" % (made, query) if b"?" in target else made
        return None
