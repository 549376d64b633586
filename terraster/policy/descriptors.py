"""File descriptors: how many a process may have, how many clients they are enough for, and which of them goes first if they are not.

A process has a soft limit, which it may raise up to the hard one. Shells, supervisors and containers commonly set the soft limit to 1024,
for programs that use select(2). Terraster uses epoll, so it raises the limit (as HAProxy does).

Every client that is let in may need a connection to a backend at the same moment. So a worker takes as many clients as there is room for
pairs (HAProxy computes `maxconn` so). Beyond that it ends idle connections of clients, the idlest first (as nginx does), and if none has
been idle for `IDLE` seconds, new clients wait in the kernel's queue.

Pure. Moments are of the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["IDLE", "MOST", "aim", "finite", "idlest", "most_clients", "most_probes", "spare"]

_T = TypeVar("_T")

MOST = 1 << 20
"""Descriptors that are asked for where the hard limit is higher, or infinite. It is the kernel's own default bound for a process
(`fs.nr_open`), and some container runtimes have a thousand times as much as hard limit."""

IDLE = 1.0
"""Seconds that a client's connection must have been idle before it is ended for others. A client in use asks again sooner."""

_BATCH = 16  # one of so many connections is ended at a time, because finding the idlest means to look at all of them


def aim(soft: int, hard: int) -> int:
    """The soft limit to set. -1 means infinite (`resource.RLIM_INFINITY`)."""
    most = MOST if hard < 0 else min(hard, MOST)
    return soft if soft < 0 else max(soft, most)


def finite(limit: int) -> int:
    """The limit to count with where there may be none (-1)."""
    return MOST if limit < 0 else limit


def spare(limit: int) -> int:
    """Descriptors of a worker that no client gets: for log files, new listeners, and what the process needs for a moment."""
    return min(64, max(8, limit // 16))


def most_clients(limit: int, used: int) -> int:
    """Clients of a worker at one time.

    limit: its descriptors; used: those that have nothing to do with clients, such as listeners and log files
    """
    return max(1, (limit - used - spare(limit)) // 2)


def most_probes(limit: int) -> int:
    """Probes of the master at one time; its children, listeners and look-ups of names get the other half. limit: its descriptors"""
    return max(1, limit // 2 - 16)


def idlest(connections: Sequence[tuple[float, _T]], now: float, count: int) -> list[_T]:
    """The connections to end, the idlest first.

    connections: (idle since, connection) of all that are idle; count: connections that the worker has, idle or not
    """
    old = sorted((since, at) for at, (since, _connection) in enumerate(connections) if now - since >= IDLE)
    return [connections[at][1] for _since, at in old[: max(1, count // _BATCH)]]
