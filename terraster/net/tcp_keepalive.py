"""TCP keepalive (RFC 9293, section 3.8.4): the kernel asks a peer that has been silent for a while whether it is still there.

Two things depend on it. A NAT or a cloud's balancer forgets a connection that is silent for too long (350 s is usual), and a tunnel
(WebSocket) may be silent for hours. And a peer that has vanished without a word is found only by asking.

An accepted connection inherits the options of its listening socket, so clients cost nothing. A connection to a backend gets them when it is
made.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from math import ceil
from typing import Any

__all__ = ["Options", "apply", "options"]

Options = tuple[tuple[int, int, int], ...]
"""Arguments of `setsockopt`: level, option, value."""

_PROBES = 6
"""Unanswered probes after which the kernel ends a connection. They take as long together as the silence before the first."""

_OFF: Options = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0),)


def options(seconds: float) -> Options:
    """The options of a new socket for a first probe after so many seconds of silence; none for 0. The kernel counts whole seconds."""
    if not seconds:
        return ()
    return (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, ceil(seconds)),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, ceil(seconds / _PROBES)),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES),
    )


def apply(seconds: float, sockets: Iterable[Any]) -> None:
    """Set the options on listening sockets, and so on connections that are accepted from now on; 0: no probes. A unix socket has no such
    options."""
    made = options(seconds) or _OFF
    for one in sockets:
        if one.family != socket.AF_UNIX:
            for level, option, value in made:
                one.setsockopt(level, option, value)
