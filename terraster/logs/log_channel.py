"""The socket between the workers of a Terraster and one process that takes what they tell about requests: spans, or the lines of a tail.

The master makes it, and its children inherit it, also those that it starts later. A message is taken whole or not at all.
"""

from __future__ import annotations

import socket

__all__ = ["MESSAGE", "LogChannel"]

MESSAGE = 32768
"""Octets of a message, but one that a single request exceeds: a socket has room for several."""

_ROOM = 1 << 20  # octets that are wanted for the socket; the kernel gives what it allows


class LogChannel:
    """near: the descriptor of the workers, which never waits. far: that of the other process"""

    __slots__ = ("far", "near")

    def __init__(self) -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near.setblocking(False)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
        self.near, self.far = near.detach(), far.detach()
