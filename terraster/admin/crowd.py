"""The connections of one port, and which of them gives its place away when there are too many.

It is the one that has waited longest for its client: for a request's head, or for its body. A connection whose request is being answered
keeps its place. So a crowd of idle or slow clients cannot keep others out: each of them waits only for as long as the crowd takes to
fill all places again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from gevent import socket as gevent_socket

__all__ = ["Crowd"]


class Crowd:
    """most: connections that have a place."""

    __slots__ = ("_most", "_open", "_waiting")

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0
        self._waiting: dict[Any, None] = {}  # sockets, the longest wait first

    def enter(self) -> None:
        """A connection takes a place: perhaps that of another one, which ends."""
        self._open += 1
        if self._open > self._most and self._waiting:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            with suppress(OSError):
                gevent_socket.socket.shutdown(oldest, gevent_socket.SHUT_RDWR)  # also below TLS; its greenlet sees the end

    def leave(self) -> None:
        """A connection has ended."""
        self._open -= 1

    def waits(self, sock: Any) -> None:
        """A connection begins to wait for its client."""
        self._waiting[sock] = None

    def goes_on(self, sock: Any) -> None:
        """A connection has what it waited for, or ends."""
        self._waiting.pop(sock, None)
