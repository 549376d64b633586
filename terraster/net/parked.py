"""Clients' connections that are silent between two requests, without a greenlet.

The stacks of a greenlet are most of what an idle connection takes. So a connection that has been silent for `PARK` seconds gives its greenlet
back, and a `Parked` waits in its place. The next octets, or the end, have a greenlet of the worker's pool go on. A connection that is busy is
never parked, because that would cost a request some 10 µs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from terraster.errors import HttpError

from .connection import Connection
from .downstream import Downstream

__all__ = ["PARK", "Parked", "Silence", "park"]

PARK = 0.5
"""Seconds without an octet of the next request after which a connection is parked. The sweep finds it up to three sweeps later."""

_AT_ONCE = 256
"""Connections that one sweep parks, so that they do not keep others waiting: each takes some 5 µs."""


class Silence(Exception):  # noqa: N818: nothing has failed
    """Thrown into the greenlet that waits for the next request of a connection, so that it gives itself back."""

    __slots__ = ()


class Parked:
    """Waits for the next request of a connection as `Stream.reader`, where else the greenlet is. So all that ends or bounds a wait treats both
    alike."""

    __slots__ = ("_client", "_resume")

    def __init__(self, client: Downstream, resume: Callable[[Downstream, HttpError | None], None]) -> None:
        """resume: goes on with the client, or ends its connection because of an error. Called on the hub"""
        self._client = client
        self._resume = resume

    def switch(self) -> None:
        """Octets have come, or their end. Called on the hub."""
        self._client.connection.plain.ready = True
        self._resume(self._client, None)

    def throw(self, error: HttpError) -> None:
        """The wait is over. Called on the hub."""
        self._resume(self._client, error)


def park(connections: Iterable[Connection], now: float) -> int:
    """Park those that have been silent for long enough. Returns their number. now: monotonic time. Called on the hub by every sweep.

    One whose listener is closed is not parked: it has only a moment left.
    """
    parked = 0
    for connection in [one for one in connections if one.parks_at < now][:_AT_ONCE]:
        connection.parks_at = inf
        plain = connection.plain
        deadline = plain.read_deadline
        if not connection.listener.closed and plain.end_wait(Silence()):
            plain.read_deadline = deadline
            parked += 1
    return parked
