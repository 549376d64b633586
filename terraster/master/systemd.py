"""The line to the service manager: the datagrams of sd_notify(3), and how often it wants a sign of life.

Without ``NOTIFY_SOCKET`` in the environment nothing is sent. A datagram that cannot be sent is lost on purpose: the service
manager must not keep Terraster from serving.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from gevent import monkey

__all__ = ["ServiceManager"]


class ServiceManager:
    """The line to the service manager. Master only.

    environ: the process's environment; ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC`` (with ``WATCHDOG_PID``) are read from it
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog = int(usec) / 2e6 if mine and usec.isdigit() else 0.0
        """Seconds between two signs of life: half of what the manager tolerates; 0: it wants none."""
        self._alive = float("-inf")
        self.silent = False
        """True while another master is the one that the service manager knows."""

    def ready(self, status: str) -> None:
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Followed by `ready` when the reload is over, whatever its outcome. MONOTONIC_USEC is what Type=notify-reload asks for."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, successor: int = 0) -> None:
        """This master ends. ``successor``: pid of the master that goes on (after USR2); 0: the service stops."""
        if successor:
            self._send(f"MAINPID={successor}", "STATUS=handed over to a new master")
        else:
            self._send("STOPPING=1", "STATUS=draining")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Called at every turn of the master's loop; sends a sign of life when one is due."""
        now = time.monotonic()
        if self.watchdog and now - self._alive >= self.watchdog * 0.9:
            self._alive = now
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address or self.silent:
            return
        make: type[socket.socket] = monkey.get_original("socket", "socket")
        with make(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
            try:
                sender.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                return
