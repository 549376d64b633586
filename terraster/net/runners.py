"""The greenlets that carry connections, one at a time each, from a pool of the worker.

A new greenlet costs 8 µs or more, because the interpreter maps a stack for it and unmaps the stack at its end. A reused greenlet costs a
switch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet

from .reactor import Reactor

__all__ = ["Runners"]

MOST_IDLE = 256
"""Most greenlets that wait for a job. Each takes about 16 KiB."""


class Runners:
    """Runs each job in a greenlet that has no other job meanwhile.

    reactor: the loop that the jobs run on
    """

    __slots__ = ("reactor", "_hub", "_idle", "_job", "_run", "_switch")

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self._hub = reactor.hub
        self._idle: list[greenlet] = []
        self._job: Any = None
        self._run: Any = None
        self._switch = reactor.switch

    def start(self, run: Callable[[Any], None], job: Any) -> None:
        """Begin a job now. Called on the hub.

        run: does the job; it must not raise, except `GreenletExit`, which ends the greenlet, too. No reference to the greenlet may outlive
        the job, because the greenlet does another job then.
        """
        self._run = run
        self._job = job  # not passed as an argument, because a greenlet keeps the arguments of its first switch as long as it lives
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
