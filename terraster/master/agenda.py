"""The agenda of the master: one for health checks, ejections, circuits, names, slow starts and the ends of operators' orders.

    agenda.after(2.0, self._look, backend)  ─▶ Entry ─▶ called once, in the agenda's greenlet; or `Entry.cancel`

Entries that are due run one after the other, the earliest first. An action must not wait, because all others wait with it: it starts a
greenlet for what takes time. An action that fails is logged, and the agenda goes on.

The clock is an argument. A test moves its own clock and calls `turn`.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

from terraster.logs.program import ProgramLog

__all__ = ["Agenda", "Entry"]

_AT_A_TIME = 200  # entries between two turns of the event loop


class Entry:
    """One action at one moment. ``action``: None once it ran or was cancelled."""

    __slots__ = ("action", "arguments")

    def __init__(self, action: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.action: Callable[..., object] | None = action
        self.arguments = arguments

    def cancel(self) -> None:
        """Do not run it. Safe to call again, and after it ran."""
        self.action = None


class Agenda:
    """The agenda of one master. clock: seconds, time.monotonic. Any greenlet of the master."""

    def __init__(self, log: ProgramLog, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._log = log
        self._heap: list[tuple[float, int, Entry]] = []
        self._ticket = itertools.count()
        self._sooner = Event()
        self._runner: gevent.Greenlet | None = None

    def start(self) -> None:
        """Run entries from now on."""
        self._runner = gevent.spawn(self._run)

    def stop(self) -> None:
        """Run nothing any longer."""
        if self._runner is not None:
            self._runner.kill()

    def at(self, when: float, action: Callable[..., object], *arguments: Any) -> Entry:
        """Call ``action(*arguments)`` at a moment of the clock."""
        entry = Entry(action, arguments)
        if not self._heap or when < self._heap[0][0]:
            self._sooner.set()
        heapq.heappush(self._heap, (when, next(self._ticket), entry))
        return entry

    def after(self, seconds: float, action: Callable[..., object], *arguments: Any) -> Entry:
        """Call ``action(*arguments)`` in so many seconds."""
        return self.at(self.clock() + seconds, action, *arguments)

    def turn(self, most: int = sys.maxsize) -> float | None:
        """Run what is due, ``most`` entries of it. Returns the seconds until the next entry, None if there is none."""
        heap, now = self._heap, self.clock()
        for _ in range(most):
            if not heap:
                return None
            if heap[0][0] > now:
                now = self.clock()  # the actions took time
                if heap[0][0] > now:
                    return heap[0][0] - now
            entry = heapq.heappop(heap)[2]
            action = entry.action
            if action is not None:
                entry.action = None
                try:
                    action(*entry.arguments)
                except Exception:
                    self._log.exception("%s failed; the master goes on", getattr(action, "__qualname__", action))
        return 0.0

    def _run(self) -> None:
        while True:
            self._sooner.clear()
            wait = self.turn(_AT_A_TIME)
            if wait == 0.0:
                gevent.sleep(0)
            else:
                self._sooner.wait(wait)
