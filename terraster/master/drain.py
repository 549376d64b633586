"""The end of a master's children, in order:

    TERM ─▶ drain_delay: readyz says 503, and everything goes on ─▶ the proxy workers drain ─▶ the admin worker leaves, last

So status, metrics and readyz answer until the last request is over. INT or QUIT at any time ends everything at once. A second TERM
changes nothing.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from terraster.net.tunnel import FAREWELL
from terraster.worker.process import Process

from .adoption import Adoption
from .children import FORCED, Children
from .shared import Predecessors

__all__ = ["Drain"]

_LOOK = 0.05  # seconds between two looks whether the workers of a master before have ended
_AT_ONCE = (signal.SIGINT, signal.SIGQUIT)


class Drain:
    """How the children of one master end. Main greenlet only.

    wait:   ``wait(seconds)``: lets the other greenlets run until a signal comes; the signals that came
    handle: does what a signal asks for: SIGCHLD and SIGUSR1
    """

    def __init__(self, children: Children, wait: Callable[[float], list[int]], handle: Callable[[int], None]) -> None:
        self._children = children
        self._wait = wait
        self._handle = handle

    def delay(self, seconds: float) -> bool:
        """Go on as before for so long, and supervise the children. False if a signal asked for the end at once."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._turn(left):
                return False
            self._children.end_overdue()
            self._children.manage()
        return True

    def drain(self, seconds: float) -> None:
        """Drain the proxy workers, then the admin worker. Returns when no child is left. seconds: for open requests"""
        for role, most in (("proxy", seconds + FAREWELL), ("admin", 0.0)):
            children = [child for child in self._children.by_pid.values() if child.name == role]
            for child in children:
                self._children.dismiss(child)
            self._until_gone(children, most + FORCED)

    def end(self) -> None:
        """End all children at once."""
        self._children.kill_all(signal.SIGQUIT)
        self._until_gone(list(self._children.by_pid.values()), FORCED)

    def predecessors(self, predecessors: Predecessors, adoption: Adoption, seconds: float, graceful: bool) -> None:
        """Leave none of the workers behind that another master left: neither those of the same table, nor those of another one that can be
        found. seconds: for open requests"""
        limit = time.monotonic() + (seconds + FAREWELL if graceful else 0.0) + FORCED
        number = signal.SIGTERM if graceful else signal.SIGQUIT
        sent = 0
        while predecessors.end(now := number if number != sent else 0) + adoption.end(now):
            sent = number
            if any(came in _AT_ONCE for came in self._wait(_LOOK)) and number == signal.SIGTERM:
                number = signal.SIGQUIT
                limit = min(limit, time.monotonic() + FORCED)
            if time.monotonic() > limit:
                number = signal.SIGKILL

    def _until_gone(self, children: list[Process], seconds: float) -> None:
        """Wait until these children have left. Those that are late are killed."""
        limit = time.monotonic() + seconds
        while left := [child for child in children if child.pid in self._children.by_pid]:
            now = time.monotonic()
            if now >= limit:
                for child in left:
                    self._children.kill(child)
                limit = now + FORCED
            if self._turn(limit - now):
                limit = min(limit, time.monotonic() + FORCED)
                self._children.kill_all(signal.SIGQUIT)
            self._children.retire()

    def _turn(self, seconds: float) -> bool:
        """Wait for signals, one second at most. True if one of them asks for the end at once."""
        numbers = self._wait(min(1.0, seconds))
        for number in numbers:
            if number == signal.SIGUSR1:
                self._handle(number)
        self._handle(signal.SIGCHLD)
        return any(number in _AT_ONCE for number in numbers)
