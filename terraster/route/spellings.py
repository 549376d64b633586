"""Spellings of a path that one server takes for another path than Terraster does. They must not lead round an access filter.

Terraster's canonical path keeps what has a meaning of its own: ``/ADMIN``, ``/admin;x``, ``/%2561dmin`` and, if a service keeps encoded
slashes, ``/admin%2Fx`` are not below ``/admin``. But there are servers to which they are: some take no notice of the case, some of path
parameters, some decode twice, some take an encoded slash or a backslash for a slash, and some an encoded question mark for the beginning of the
query. So every path of a service whose locations differ in their access filters is also read as the most lenient of those servers would read
it. If that reading lies in a location with other access filters, the request is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from .prefix import Prefixes

__all__ = ["Spellings", "lenient", "readings"]

P = TypeVar("P")

_TIMES = 3  # that a path is decoded
_STRICT = bytes(octet for octet in range(256) if octet not in b"abcdefghijklmnopqrstuvwxyz0123456789/-_~!$&'()*+,=:@[]")
"""Octets that make a path one that may be read in another way. The octet "." is among them for the sake of dot segments."""
_ENDS = re.compile(rb"[;?#\0]")
_QUERY = re.compile(rb"%(?:25)*(?:3F|23)", re.IGNORECASE)
"""Where a server that decodes a path before it looks for the query (rules of Apache's mod_rewrite) takes it to end."""


def lenient(path: bytes) -> bytes:
    """A canonical path as the most lenient server reads it: decoded, in lower case, with slashes for backslashes, without path parameters, dot
    segments, empty segments, blanks and dots at the end of a segment, and what begins in a segment like a query."""
    for _ in range(_TIMES):
        path = unquote_to_bytes(path)
    kept: list[bytes] = []
    for segment in path.lower().replace(b"\\", b"/").split(b"/"):
        name = _ENDS.split(segment, 1)[0].strip(b" \t\r\n\v\f")
        if name == b"..":
            if kept:
                kept.pop()
        elif name := name.rstrip(b". "):
            kept.append(name)
    return b"/" + b"/".join(kept)


def readings(path: bytes) -> tuple[bytes, ...]:
    """The paths that a server may take a canonical path for: itself, if no server reads it otherwise, else as the most lenient ones read it."""
    if len(path.translate(None, _STRICT)) == len(path) and b"//" not in path:
        return (path,)
    query = _QUERY.search(path)
    return (lenient(path),) if query is None else (lenient(path[: query.start()]), lenient(path))


class Spellings(Generic[P]):
    """The locations of one service, by what a lenient server takes their paths for. Immutable.

    Each location comes with its access filters, as any value that can be compared; () = it has none.
    """

    __slots__ = ("_guards", "_prefixes")

    def __init__(self, locations: Iterable[tuple[bytes, P, tuple[object, ...]]]) -> None:
        """locations: path, payload, access filters. Of two paths that are the same to a lenient server the one with filters counts."""
        found: dict[bytes, tuple[P, tuple[object, ...]]] = {}
        self._guards: dict[P, tuple[object, ...]] = {}
        for path, payload, guards in locations:
            self._guards[payload] = guards
            read = lenient(path)
            if guards or read not in found:
                found[read] = payload, guards
        self._prefixes = Prefixes(found.items())

    def leads_round(self, path: bytes, location: P) -> bool:
        """True if a lenient server takes a canonical path, which lies in this location, for one in a location with other access filters."""
        for read in readings(path):
            if self._is_guarded_apart(read, location):
                return True
        return False

    def _is_guarded_apart(self, read: bytes, location: P) -> bool:
        """True if what a server reads lies in a location with access filters, and with others than this location has."""
        found = self._prefixes.find(read)
        if found is None or found[0] is location:
            return False
        guards = found[1]
        return bool(guards) and guards != self._guards[location]
