"""A timer of the kernel (timerfd_create(2)) for the time when the next request is due.

The loop's own timers end with epoll_wait(2), whose timeout is a whole number of milliseconds: requests would be up to 1 ms late.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from math import inf
from typing import Any

from terraster.net.reactor import Reactor

__all__ = ["Alarm"]

_MONOTONIC = 1  # CLOCK_MONOTONIC, the clock of time.monotonic
_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME


class _Times(ctypes.Structure):
    """struct itimerspec"""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class Alarm:
    """Calls back at a monotonic time."""

    __slots__ = ("_at", "_callback", "_descriptor", "_library", "_watcher")

    def __init__(self, reactor: Reactor, callback: Callable[[], None]) -> None:
        """callback: called on the hub; must not wait. Raises OSError."""
        self._library: Any = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._library.timerfd_create(_MONOTONIC, _NONBLOCK | _CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._at = inf
        self._callback = callback
        self._watcher = reactor.loop.io(self._descriptor, 1)
        self._watcher.start(self._rings)

    def set(self, at: float) -> None:
        """Call back at this time, or soon if it has passed; inf: do not. A time that is set already is not set again."""
        if at != self._at:
            self._at = at
            whole, part = divmod(at, 1.0)
            times = _Times(0, 0, int(whole), max(1, int(part * 1e9))) if at < inf else _Times()
            self._library.timerfd_settime(self._descriptor, _ABSOLUTE, ctypes.byref(times), None)

    def _rings(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:  # it was set anew meanwhile
            return
        self._at = inf
        self._callback()

    def close(self) -> None:
        """Free the timer."""
        self._watcher.stop()
        self._watcher.close()
        os.close(self._descriptor)
