"""Accept-Encoding (RFC 9110, section 12.5.3): which content coding a client gets."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .memory import Memory

__all__ = ["Choice", "choose"]

_MEMBER = re.compile(rb"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*(?:;[ \t]*[qQ]=([01](?:\.[0-9]{0,3})?)[ \t]*)?")
_ALIASES = {b"x-gzip": b"gzip", b"x-compress": b"compress"}  # section 8.4.1


class Choice:
    """The codings that are offered, the preferred ones first, and what clients that sent this field get of them."""

    __slots__ = ("_known", "_offered")

    def __init__(self, offered: Sequence[bytes]) -> None:
        """offered: lower case"""
        self._offered = tuple(offered)
        self._known: Memory[bytes, bytes] = Memory(256, 1 << 14)

    def of(self, field: bytes) -> bytes:
        """The coding for the value of the field, b"" for none. Several fields are joined by commas."""
        known = self._known.get(field)
        if known is None:
            known = choose(field, self._offered)
            self._known.learn(field, known, len(field))
        return known


def choose(field: bytes, offered: Sequence[bytes]) -> bytes:
    """The offered coding (lower case) that the client likes best, b"" for none. Of several that it likes the same, it is the first.

    A client that sends no field, or an empty one, gets none. A member that is malformed refuses the coding that it names. A coding that is
    named twice counts with its smaller quality. A client that likes ``identity`` better than every offered coding gets none, too; one that
    allows neither gets none, because there is nothing else to send.
    """
    qualities: dict[bytes, float] = {}
    for member in field.lower().split(b","):
        match = _MEMBER.fullmatch(member)
        if match is None:
            name, quality = member.partition(b";")[0].strip(b" \t"), 0.0
        else:
            name, quality = match[1], 1.0 if match[2] is None else float(match[2])
        if quality > 1.0:
            quality = 0.0
        name = _ALIASES.get(name, name)
        qualities[name] = min(quality, qualities.get(name, 1.0))
    others = qualities.get(b"*", 0.0)
    best, most = b"", qualities.get(b"identity", 0.0)
    for coding in offered:
        quality = qualities.get(coding, others)
        if quality > most or (quality == most > 0.0 and not best):
            best, most = coding, quality
    return best
