"""The number of requests that each client has under way, over all processes, without a lock.

Each process counts its own in its seat, and adds up the seats. It counts a request before it adds up. So of two processes that take the last
free place at the same moment at least one sees both requests: the limit is never exceeded, though both may refuse. The cells of a process
that was killed are zeroed with its seat, and its requests are gone with it.

A client has one place, a set of `SeatClient.WAYS` ways, in each seat. A way is free once its client has no request under way.
"""

from __future__ import annotations

from .cells import SeatClient
from .view import SeatView

__all__ = ["Clients"]

_WAYS, _CELLS, _ACTIVE = SeatClient.WAYS, SeatClient.CELLS, SeatClient.ACTIVE


class Clients:
    """The clients with requests under way, as this process reads and writes them."""

    __slots__ = ("_last", "_view")

    REFUSED, NO_ROOM = -1, -2

    def __init__(self, view: SeatView) -> None:
        self._view = view
        self._last = view.table.client_sets - 1

    def enter(self, key: int, most: int) -> int:
        """Count one more request of a client, unless it has ``most`` under way already. key: names policy and client; not 0.

        Returns the cell to `leave`. `REFUSED`: it has as many as it may have. `NO_ROOM`: it is not counted, because all ways of its set are
        taken by other clients.
        """
        view = self._view
        q = view.q
        at = (key >> 32 & self._last) * _CELLS
        mine = view.clients + at
        keys = q[mine : mine + _WAYS].tolist()
        if key in keys:
            way = keys.index(key)
        else:
            active = q[mine + _ACTIVE : mine + _ACTIVE + _WAYS].tolist()
            if 0 not in active:
                return self.NO_ROOM
            way = active.index(0)
            q[mine + way] = key
        cell = mine + _ACTIVE + way
        q[cell] += 1
        total = 0
        for base in view.all_clients:
            first = base + at
            keys = q[first : first + _WAYS].tolist()
            if key in keys:
                total += q[first + _ACTIVE + keys.index(key)]
        if total > most:
            q[cell] -= 1
            return self.REFUSED
        return cell

    def active(self, key: int) -> int:
        """The requests that a client has under way, over all processes."""
        q, at, total = self._view.q, (key >> 32 & self._last) * _CELLS, 0
        for base in self._view.all_clients:
            keys = q[base + at : base + at + _WAYS].tolist()
            if key in keys:
                total += q[base + at + _ACTIVE + keys.index(key)]
        return total

    def leave(self, cell: int) -> None:
        """A request that was counted is over."""
        self._view.q[cell] -= 1
