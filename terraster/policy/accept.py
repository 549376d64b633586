"""Which worker accepts the next connection.

All workers wait on the same listening sockets, and the kernel wakes the one that is quickest, so the busiest would stay the
busiest. A worker that holds clearly more than its share therefore leaves the connection to the others, who are woken by it just
the same.
"""

from __future__ import annotations

__all__ = ["SLACK", "may_accept"]

SLACK = 8
"""Connections above its share that a worker always takes: with few of them it does not matter who has them, but waiting would."""


def may_accept(mine: int, total: int, workers: int) -> bool:
    """True if a worker with ``mine`` of ``total`` open connections should accept another, among ``workers`` that accept.

    ``total`` includes ``mine``. It may lag behind: a few too many for a moment do no harm. The worker with fewest always may, so
    a connection never waits for nobody. At 200 connections and 2 workers neither holds more than 57 %.
    """
    if workers <= 1:
        return True
    share = total // workers
    return mine < share + max(SLACK, share // 8)
