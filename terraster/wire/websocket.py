"""WebSocket frames, as far as a relay has to know them: where one ends, and how a connection is closed (RFC 6455)."""

from __future__ import annotations

import os
from struct import pack

__all__ = ["GOING_AWAY", "Frames", "close_frame"]

GOING_AWAY = 1001
"""The status of a server that goes down: RFC 6455, section 7.4.1."""

_CLOSE = 8


class Frames:
    """The octets of one direction, cut into frames (RFC 6455, section 5.2). Nothing is checked: both ends do that.

    closed: True if a close frame has begun
    """

    __slots__ = ("closed", "_head", "_left")

    def __init__(self) -> None:
        self.closed = False
        self._head = b""  # of a frame whose size is not known yet
        self._left = 0  # octets of the current frame that are still to come

    @property
    def between(self) -> bool:
        """True if the octets so far end with a frame, so that another frame may follow, also between the fragments of a message."""
        return not self._left and not self._head

    def feed(self, data: bytes) -> None:
        """Take the next octets."""
        size, at = len(data), self._left
        if size <= at:
            self._left = at - size
            return
        if self._head:
            data = self._head + data
            size = len(data)
        while at + 2 <= size:
            length = data[at + 1]
            head = 6 if length & 128 else 2
            length &= 127
            if length == 126:
                head += 2
            elif length == 127:
                head += 8
            if at + head > size:
                break
            if length == 126:
                length = int.from_bytes(data[at + 2 : at + 4])
            elif length == 127:
                length = int.from_bytes(data[at + 2 : at + 10])
            if data[at] & 15 == _CLOSE:
                self.closed = True
            at += head + length
        self._head = data[at:]
        self._left = max(0, at - size)


def close_frame(status: int, masked: bool) -> bytes:
    """A close frame. masked: it goes to a server."""
    payload = pack("!H", status)
    if not masked:
        return b"\x88\x02" + payload
    mask = os.urandom(4)
    return b"\x88\x82" + mask + bytes([payload[0] ^ mask[0], payload[1] ^ mask[1]])
