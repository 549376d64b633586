"""Which worker accepts the next connection.

All workers wait on the same listening sockets, and the kernel wakes the one that is quickest, so the busiest would stay the
busiest. A worker that holds clearly more than its share therefore leaves the connection to the others, who are woken by it just
the same.
"""

from __future__ import annotations

__all__ = ["SLACK", "share"]

SLACK = 8
"""Connections above its share that a worker always takes: with few of them it does not matter who has them, but waiting would."""


_ALL = 1 << 30


def share(mine: int, total: int, workers: int) -> int:
    """The number of connections that a worker with ``mine`` of ``total`` open ones should accept now, among ``workers`` that accept. 0 or
    less: leave new ones to the others.

    ``total`` includes ``mine``. It may lag behind: a few too many for a moment do no harm. The worker with fewest always gets some, so
    a connection never waits for nobody. At 200 connections and 2 workers neither holds more than 57 %.
    """
    if workers <= 1:
        return _ALL
    fair = total // workers
    return fair + max(SLACK, fair // 8) - mine
