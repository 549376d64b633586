"""The backups of rotated logs are compressed and removed here, away from the processes that serve (`terraster.logs.backups`)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.threadpool import ThreadPool

from terraster.config.loggers import Rotation
from terraster.config.snapshot import Snapshot
from terraster.logs.backups import rotations, tidy

__all__ = ["Archivist"]

_TURN = 1.0  # seconds between two looks at the directories
_LOW = 10  # nice value of the thread that compresses
_AGAIN = 3600.0  # seconds after which a failure that goes on is said again


class Archivist:
    """Looks after the backups, for ever, in a greenlet of its own and one thread.

    running: the configuration of now. log: the program's log, a line for each failure, once an hour
    """

    def __init__(self, running: Callable[[], Snapshot], log: Any, wall: Callable[[], float] = time.time) -> None:
        self._running = running
        self._log = log
        self._wall = wall
        self._pool: ThreadPool | None = None
        self._said: dict[str, float] = {}

    def run(self) -> None:
        """Look after them from now on."""
        while True:
            gevent.sleep(_TURN)
            try:
                self.turn()
            except Exception:
                self._log.exception("backups of logs cannot be looked after now")

    def turn(self) -> None:
        """Look after the backups of each file once."""
        found = rotations(self._running())
        if not found:
            return
        if self._pool is None:
            self._pool = ThreadPool(1)
        now = self._wall()
        self._said = {words: since for words, since in self._said.items() if now - since < _AGAIN}
        for path, rule in found.items():
            for words in self._pool.apply(_tidied, (path, rule, now)):
                if words not in self._said:
                    self._said[words] = now
                    self._log.warning("backups of a log: %s", words)


def _tidied(path: str, rule: Rotation, now: float) -> list[str]:
    """In the thread: it takes the core only when nobody else wants it."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW)
    return tidy(path, rule, now)
