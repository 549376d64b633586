"""The queue of a location: requests that wait for a backend with room, first come, first served, over all workers.

Each worker has its own queue. Its seat has the number of waiting requests (`SeatLocation.QUEUED`) and the time since which the first one waits
(`QUEUE_HEAD`). Only the first request of a queue looks for room, and only if no request of another worker has waited longer. It looks when a
request of its own worker ends, and every few milliseconds, because it is not notified of the end of requests of other workers.

The number of waiting requests is exact over all workers, in the way of `terraster.balance.contract`: count in, add up, step back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from terraster.config.snapshot import Queue as QueueLimits
from terraster.errors import HttpError
from terraster.exchange import QUEUE_TIME, Exchange
from terraster.state.cells import Seat, SeatLocation
from terraster.state.view import SeatView

from .reactor import Reactor, Wakeup

__all__ = ["Queue"]

_LOOK = 0.004  # seconds between two checks for room that another worker may have made
_SILENT = 2_000_000_000  # nanoseconds without a heartbeat after which a worker's queue is ignored; a heartbeat comes every second

_T = TypeVar("_T")
_Waiting = deque[tuple[int, Wakeup]]

_NOBODY: _Waiting = deque(maxlen=0)
"""Of each queue that nobody waits in, as its backends are never full: a deque of its own has 760 octets."""


class Queue:
    """The queue of one location in one worker. limits: as configured. offset: of the location's row in a seat. used: False if `wait` is never
    called."""

    __slots__ = ("limits", "_view", "_offset", "_waiting")

    def __init__(self, limits: QueueLimits, view: SeatView, offset: int, used: bool = True) -> None:
        self.limits = limits
        self._view = view
        self._offset = offset
        self._waiting: _Waiting = deque() if used else _NOBODY

    def resume_from(self, old: Queue) -> None:
        """Take over the waiting requests of the previous generation; they keep their order."""
        if old._waiting is not _NOBODY:
            self._waiting = old._waiting

    def is_busy(self) -> bool:
        """True if a request waits at any worker, so that a new one must wait behind it."""
        if self._waiting:
            return True
        view = self._view
        at = self._offset + SeatLocation.QUEUED
        for row in view.all_locations:
            if view.q[row + at]:
                return True
        return False

    @property
    def waiting(self) -> int:
        """The number of this worker's requests that wait."""
        return len(self._waiting)

    def stir(self) -> None:
        """There may be room: let the first request look. Any greenlet may call this."""
        if self._waiting:
            self._waiting[0][1].wake()

    def wait(self, look: Callable[[], _T | None], reactor: Reactor, exchange: Exchange) -> _T:
        """Wait until ``look()`` finds a backend, and return it. Raises `HttpError` 503 at once if the queue is full, and after the timeout.

        exchange: it is told how long it waited
        reactor: this worker's; it does not exist yet when the queue is compiled
        """
        view, q, row = self._view, self._view.q, self._view.locations + self._offset
        q[row + SeatLocation.QUEUED] += 1
        at = self._offset + SeatLocation.QUEUED
        if sum([q[seat + at] for seat in view.all_locations]) > self.limits.size:
            q[row + SeatLocation.QUEUED] -= 1
            q[row + SeatLocation.QUEUE_REFUSED] += 1
            many = ", and too many requests wait already" if self.limits.size else ""
            raise self._refusal(f"all backends are at their limit{many}")
        clock = reactor.clock
        now = clock()
        arrived = int(now * 1e9)
        end = now + self.limits.timeout
        called = Wakeup(reactor)
        place = (arrived, called)
        waiting = self._waiting
        waiting.append(place)
        try:
            while True:
                first = waiting[0] is place
                if first:
                    q[row + SeatLocation.QUEUE_HEAD] = arrived
                    if self._is_next(arrived, clock()) and (found := look()) is not None:
                        return found
                left = end - clock()
                if left <= 0:
                    q[row + SeatLocation.QUEUE_TIMEOUTS] += 1
                    raise self._refusal("all backends are at their limit")
                called.wait(min(left, _LOOK) if first else left)
        finally:
            waiting.remove(place)
            q[row + SeatLocation.QUEUED] -= 1
            q[row + SeatLocation.QUEUE_HEAD] = waiting[0][0] if waiting else 0
            exchange.spent(QUEUE_TIME, clock() - now)
            self.stir()

    def _is_next(self, arrived: int, now: float) -> bool:
        """True if no request has waited longer at another living worker. (All processes share the monotonic clock.)"""
        view = self._view
        q, table, at = view.q, view.table, self._offset + SeatLocation.QUEUE_HEAD
        alive = int(now * 1e9) - _SILENT
        for seat, row in zip(view.seats, view.all_locations, strict=True):
            if 0 < q[row + at] < arrived and q[table.seat(seat) + Seat.HEARTBEAT] > alive:
                return False
        return True

    def _refusal(self, detail: str) -> HttpError:
        return HttpError(detail, status=503, reason="connection_limit_reached", retry_after=max(1, round(self.limits.timeout)))
