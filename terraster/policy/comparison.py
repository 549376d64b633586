"""Compare the answers that two servers gave to the same request: status, fields, body, and the time that they took.

The first one is the original, which the client got; the second one is that of a copy (`terraster.filters.mirror`). Bodies are compared by a
digest of their first octets, so that none is kept. Differences are values for JSON, without secrets: of a field whose name sounds like one
only the name is in them, and of a Location no user, query or fragment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

__all__ = ["Answered", "Digest", "Rules", "differences"]

_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",  # bodies are compared by themselves
    )
)
_SECRET = re.compile(rb"cookie|auth|token|secret|key|session|passw|credential|csrf|xsrf|jwt|signature")
_PLACES = frozenset((b"location", b"content-location", b"refresh", b"link"))
_BEHIND = re.compile(rb"[?#]")  # a fragment may have a token: RFC 6749, section 4.2.2
_USER = re.compile(rb"//[^/?#]*@")
_HIDDEN = "(not shown)"
_MOST = 20
"""Fields in one comparison, at most."""
_LONGEST = 200
"""Characters of a value."""


class Digest:
    """The digest of a body.

    octets: how many were fed, at most ``limit``. more: True if there were more, which are not in the digest
    """

    __slots__ = ("limit", "more", "octets", "_hash")

    piece = 16384
    """Octets that should be fed at once, so that it takes no longer than 0.1 ms."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.octets = 0
        self.more = False
        self._hash = sha256()

    def feed(self, payload: bytes | memoryview) -> None:
        """Take the next octets of the body."""
        room = self.limit - self.octets
        if len(payload) > room:
            self.more = True
            payload = payload[:room]
        if payload:
            self.octets += len(payload)
            self._hash.update(payload)

    def facts(self) -> dict[str, Any]:
        """``octets``, ``more`` and ``sha256``, for people."""
        return {"octets": self.octets, "more": self.more, "sha256": self._hash.hexdigest()}


class Answered(NamedTuple):
    """An answer. fields: as they were sent. seconds: until its head came. body: None if it is not known to its end, or was not looked at"""

    status: int
    fields: Sequence[tuple[bytes, bytes]]
    seconds: float
    body: Digest | None


class Rules(NamedTuple):
    """Which parts are compared. ignored: lower-case names of fields. slower_by: seconds by which a copy must be slower to differ"""

    status: bool = False
    headers: bool = False
    body: bool = False
    latency: bool = False
    ignored: frozenset[bytes] = frozenset()
    slower_by: float = 0.0


def differences(rules: Rules, original: Answered, copy: Answered) -> dict[str, Any]:
    """The differences, by ``status``, ``headers``, ``body`` and ``latency``. Each is a pair of the original's value and the copy's; ``headers``
    is a list of ``name``, ``original`` and ``copy``, where None says that the field is not there."""
    found: dict[str, Any] = {}
    if rules.status and original.status != copy.status:
        found["status"] = [original.status, copy.status]
    if rules.headers and (fields := _fields(rules.ignored, original.fields, copy.fields)):
        found["headers"] = fields
    if rules.body and original.body is not None and copy.body is not None:
        bodies = [original.body.facts(), copy.body.facts()]
        if bodies[0] != bodies[1]:
            found["body"] = bodies
    if rules.latency and copy.seconds - original.seconds >= rules.slower_by:
        found["latency"] = [round(original.seconds, 6), round(copy.seconds, 6)]
    return found


def _fields(
    ignored: frozenset[bytes], original: Sequence[tuple[bytes, bytes]], copy: Sequence[tuple[bytes, bytes]]
) -> list[dict[str, Any]]:
    one, other = _by_name(original, ignored), _by_name(copy, ignored)
    if one == other:
        return []
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return [
        {"name": _plain(name), "original": _shown(name, one.get(name)), "copy": _shown(name, other.get(name))}
        for name in names[:_MOST]
    ]


def _by_name(fields: Sequence[tuple[bytes, bytes]], ignored: frozenset[bytes]) -> dict[bytes, bytes]:
    """The values by lower-case name, several of one name joined by commas; without those about the connection."""
    found: dict[bytes, bytes] = {}
    gone: set[bytes] = set()
    for name, value in fields:
        lower = bytes(name).lower()
        if lower == b"connection":
            gone.update([option.strip(b" \t") for option in value.lower().split(b",")])
        if lower not in _HOP and lower not in ignored:
            found[lower] = found[lower] + b", " + value if lower in found else bytes(value)
    for name in gone:
        found.pop(name, None)
    return found


def _shown(name: bytes, value: bytes | None) -> str | None:
    if value is None:
        return None
    if _SECRET.search(name) is not None:
        return _HIDDEN
    if name in _PLACES:
        value = _USER.sub(b"//...@", value)
        secret = _BEHIND.search(value)
        value = value if secret is None else value[: secret.end()] + b"..."
    return _plain(value)


def _plain(value: bytes) -> str:
    """The octets as text on one line, without characters that would move a cursor, and not too long."""
    text = value[:_LONGEST].decode("utf-8", "replace")
    return "".join([char if char.isprintable() else " " for char in text]) + ("…" if len(value) > _LONGEST else "")
