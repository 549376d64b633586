"""Prefixes: canonical path → location. The longest prefix wins, and a prefix ends where a segment ends.

``/api`` matches ``/api``, ``/api/`` and ``/api/x``, never ``/apifoo``. ``/api/`` is the same prefix as ``/api``. nginx would answer
``/api`` with a redirect to ``/api/``, which loses the body of a POST. Two locations that differ only by a slash would be of no use.

Up to `FEW` prefixes are tried in turn, longest first. That is faster than cutting the path at its slashes (see `Prefixes.find`). A
service with ``/`` alone, the usual case, is found without a look at the path.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

__all__ = ["Prefixes", "normal"]

P = TypeVar("P")

FEW = 8


def normal(prefix: bytes) -> bytes:
    """A prefix in its normal form: without slashes at its end, b"" for the root."""
    return prefix.rstrip(b"/")


class Prefixes(Generic[P]):
    """Immutable. A payload may be anything but None.

    ValueError for a prefix that is defined twice (``/api`` and ``/api/`` are one) or does not start with a slash.
    """

    __slots__ = ("_root", "_only_root", "_tries", "_by_prefix", "_longest")

    def __init__(self, entries: Iterable[tuple[bytes, P]]) -> None:
        by_prefix: dict[bytes, P] = {}
        for path, payload in entries:
            if not path.startswith(b"/"):
                raise ValueError(f"a prefix must start with a slash: {path!r}")
            prefix = normal(path)
            if prefix in by_prefix:
                raise ValueError(f"a prefix is defined twice: {path!r}")
            by_prefix[prefix] = payload
        self._root: P | None = by_prefix.pop(b"", None)
        self._only_root = not by_prefix
        self._longest = max(map(len, by_prefix), default=0)
        self._by_prefix: dict[bytes, P] | None = None
        self._tries: tuple[tuple[bytes, bytes, P], ...] = ()
        if len(by_prefix) > FEW:
            self._by_prefix = by_prefix
        else:
            longest_first = sorted(by_prefix, key=len, reverse=True)
            self._tries = tuple((prefix, prefix + b"/", by_prefix[prefix]) for prefix in longest_first)

    def find(self, path: bytes) -> P | None:
        """The payload of the longest prefix that matches a canonical path, or None."""
        if self._only_root:
            return self._root
        by_prefix = self._by_prefix
        if by_prefix is None:
            for exact, below, payload in self._tries:
                if path.startswith(below) or path == exact:
                    return payload
            return self._root
        longest = self._longest
        if len(path) <= longest:
            found = by_prefix.get(path)
            if found is not None:
                return found
            at = path.rfind(b"/")
        else:
            at = path.rfind(b"/", 0, longest + 1)
        while at > 0:
            found = by_prefix.get(path[:at])
            if found is not None:
                return found
            at = path.rfind(b"/", 0, at)
        return self._root
