"""Free ports on loopback."""

from __future__ import annotations

import socket
from collections import deque

__all__ = ["free_port"]

_GIVEN: deque[int] = deque(maxlen=200)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now, and none of those given out lately: the kernel may hand out the same one twice in a row."""
    while True:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
            port = int(probe.getsockname()[1])
        if port not in _GIVEN:
            _GIVEN.append(port)
            return port
