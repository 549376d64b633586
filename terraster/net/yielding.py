"""A pause in long work that lets everything else run.

``gevent.sleep(0)`` is not enough. It lets greenlets run that are ready, but returns before the event loop has looked at sockets and timers.
With it between twenty pieces of 50 ms, a timer of 5 ms was 1.02 s late; with a short real sleep, 52 ms.
"""

from __future__ import annotations

import time

import gevent

__all__ = ["Turns", "yield_to_loop"]

TURN = 0.005
"""Seconds that long work in many small pieces may have the loop at a time."""

_BREATH = 1e-4  # seconds; epoll rounds it up to a millisecond if there is no other work


def yield_to_loop() -> None:
    """Let the event loop look at sockets and timers once, and let every ready greenlet run."""
    gevent.sleep(_BREATH)


class Turns:
    """Pauses for work whose pieces are so small that a pause after each would cost more than the work. Called after each piece; it yields if
    `TURN` is over. One object may serve several greenlets."""

    __slots__ = ("_end",)

    def __init__(self) -> None:
        self._end = 0.0

    def __call__(self) -> None:
        if time.monotonic() >= self._end:
            yield_to_loop()
            self._end = time.monotonic() + TURN
