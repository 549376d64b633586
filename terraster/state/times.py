"""Times that only some requests have, counted in the histograms of a process's own seat."""

from __future__ import annotations

from bisect import bisect_left

from .cells import WAITS, SeatBackend, SeatLocation
from .view import SeatView

__all__ = ["connected", "waited"]


def connected(view: SeatView, offset: int, seconds: float) -> None:
    """A connection to a backend was made within so many seconds. offset: of the backend's row in a seat"""
    q, row = view.q, view.backends + offset
    q[row + SeatBackend.CONNECT_TIME] += int(seconds * 1e9)
    q[row + SeatBackend.CONNECT_BUCKET + bisect_left(WAITS, seconds)] += 1


def waited(view: SeatView, offset: int, seconds: float) -> None:
    """A request that is over had waited so many seconds in all, for room or for a connection. offset: of its location's row in a seat"""
    q, row = view.q, view.locations + offset
    q[row + SeatLocation.QUEUE_TIME] += int(seconds * 1e9)
    q[row + SeatLocation.QUEUE_BUCKET + bisect_left(WAITS, seconds)] += 1
