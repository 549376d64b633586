"""The ends of TLS records in a stream of octets: five octets of head, the last two its length, then so many octets (RFC 8446, section 5.1).

The engine does not tell whether it waits for the rest of a record, or has had whole records without data (session tickets, key updates,
empty ones).
"""

from __future__ import annotations

__all__ = ["Records"]

_HEAD = 5


class Records:
    """The records of one direction of a connection, from its first octet on.

    ended: True if a record ended among the octets that came last
    """

    __slots__ = ("ended", "_due", "_head")

    def __init__(self) -> None:
        self.ended = False
        self._due = 0  # octets of the record under way that have not come yet
        self._head = b""  # the part of the next head that has come

    @property
    def are_whole(self) -> bool:
        """True if no record is under way."""
        return not (self._due or self._head)

    def follow(self, data: bytes) -> None:
        """The next octets have come."""
        octets = self._head + data if self._head else data
        size, end = len(octets), self._due
        ended = 0 < end <= size
        while end + _HEAD <= size:
            end += _HEAD + (octets[end + 3] << 8 | octets[end + 4])
            ended = ended or end <= size
        self.ended = ended
        self._head = octets[end:] if end < size else b""
        self._due = max(0, end - size)
