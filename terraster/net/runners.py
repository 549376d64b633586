"""The greenlets that carry connections, one at a time each, from a pool of the worker.

A new greenlet costs 8 µs and more: the interpreter maps a new stack for it, and unmaps that at its end. A greenlet that is used again
costs a switch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet

from .reactor import Reactor

__all__ = ["Runners"]

MOST_IDLE = 256
"""Greenlets that wait for a job. One takes some 16 KiB."""


class Runners:
    """Runs jobs, each in a greenlet of its own for as long as it lasts.

    run: does one job; it must not raise. Nobody may keep a reference to the greenlet beyond the job: it does another one then.
    """

    __slots__ = ("_hub", "_idle", "_job", "_run", "_switch")

    def __init__(self, reactor: Reactor, run: Callable[[Any], None]) -> None:
        self._hub = reactor.hub
        self._idle: list[greenlet] = []
        self._job: Any = None
        self._run = run
        self._switch = reactor.switch

    def start(self, job: Any) -> None:
        """Begin a job now. On the hub."""
        self._job = job  # not an argument: a greenlet keeps those of its first switch as long as it lives
        if self._idle:
            self._idle.pop().switch()
        else:
            greenlet(self._serve, self._hub).switch()

    def _serve(self) -> None:
        while True:
            job, self._job = self._job, None
            self._run(job)
            job = None
            if len(self._idle) >= MOST_IDLE:
                return
            self._idle.append(getcurrent())
            self._switch()
