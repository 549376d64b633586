"""Signals of the master: they wake the hub, so none is lost between a look and a wait, and nothing runs in a handler."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from gevent import get_hub
from gevent.event import Event
from gunicorn.arbiter import Arbiter

__all__ = ["ALL", "Signals"]

ALL: tuple[int, ...] = (*Arbiter.SIGNALS, signal.SIGCHLD)
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Signals:
    """The signals of one master. Main greenlet only, `wake` apart.

    ends: called at once when a signal came that ends the master; it must not wait
    """

    def __init__(self, ends: Callable[[], None]) -> None:
        self._ends = ends
        self._came: list[int] = []
        self._wanted = Event()

    def start(self) -> None:
        """Take the signals of this process."""
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watcher = get_hub().loop.io(self._reader, 1)
        self._watcher.start(self._on_readable)
        for number in ALL:
            signal.signal(number, _noted)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def wake(self) -> None:
        """End the wait that is under way, or the next one."""
        self._wanted.set()

    def wait(self, seconds: float) -> list[int]:
        """Wait for a signal or `wake`. Returns the signals that came, in their order."""
        if not self._came:
            self._wanted.wait(max(0.0, seconds))
        self._wanted.clear()
        came, self._came = self._came, []
        return came

    def abandon(self) -> None:
        """In a forked child: leave the master's signals to the master."""
        signal.set_wakeup_fd(-1)
        os.close(self._reader)
        os.close(self._writer)

    def _on_readable(self) -> None:
        numbers = os.read(self._reader, 4096)
        self._came += numbers
        if any(number in _ENDS for number in numbers):
            self._ends()
        self._wanted.set()


def _noted(number: int, frame: Any) -> None:
    """A handler that does nothing: the signal's number is in the wakeup pipe already."""
