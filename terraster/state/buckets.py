"""The buckets of rate limits: exact over all processes, without a lock.

The rule is GCRA, the leaky bucket as a meter (ITU-T I.371; ATM Forum, Traffic Management 4.1). A request costs an interval, 1/rate. A client
that has sent nothing for long has no debt. A request adds its interval to the debt, and time takes it away again. A request that would bring
the debt over the tolerance, interval × burst, is refused, and adds nothing.

The usual form keeps one number, the theoretical arrival time: now + debt. Several processes that read it, compare and write it would lose
updates, and a lock could be held by a process that is stopped. So that number is spread over cells with one writer each: an ORIGIN, and what
was SPENT since. The arrival time follows from those of all seats, in the order of their origins:

    arrival time = max(arrival time, origin) + spent

A process that lets a request pass adds the interval to its own SPENT. If its origin is not of the time in which the client has been in debt
without a break, it begins anew with the present as origin. So what was spent before a client came to rest is forgotten, whichever seats a
process has seen or missed, and a seat never adds more than its requests did. An origin is read before what was spent since, and written after
SPENT is 0 again: whatever a process reads between two writes of another one is never above what holds then. No update is lost, and a process
that was stopped in the middle changes nothing by going on later. All that can happen is that processes decide at the same moment and each let
one pass: the burst may be exceeded by one request for each other process. That is debt, and is paid back: over time the rate is exact.

The cells of a process that has ended still count, until the last client in them has no debt. The cell `SeatView.until` of its seat says when
that is. It is written by all processes that let one of these clients pass, while that one runs, too, because it may end at any moment: they
write nearly the same time, and each later request corrects it. The next process in the seat writes on in the cells.

A key has one place, a set of `SeatBucket.WAYS` ways, in each seat. If all ways of a set are taken, the client with the least debt is
forgotten: one without debt, but under a flood of clients.
"""

from __future__ import annotations

from collections.abc import Callable

from .cells import SeatBucket
from .view import SeatView

__all__ = ["RULE", "Buckets"]

RULE = "1"
"""Stands in the policy of each key (`terraster.filters.client_key`). With another one, processes of earlier versions, which read the cells in
another way, have buckets of their own in the same table."""

_WAYS, _CELLS = SeatBucket.WAYS, SeatBucket.CELLS
_ORIGIN, _SPENT, _ZERO = SeatBucket.ORIGIN, SeatBucket.SPENT, SeatBucket.ZERO


class Buckets:
    """The buckets of all clients, as this process reads and writes them."""

    __slots__ = ("_forgotten", "_last", "_view")

    def __init__(self, view: SeatView, forgotten: Callable[[], None]) -> None:
        """forgotten: called when a client with debt had to be forgotten."""
        self._view = view
        self._last = view.table.bucket_sets - 1
        self._forgotten = forgotten

    def take(self, key: int, now: int, interval: int, tolerance: int) -> int:
        """Let a request pass if the debt of its client allows it.

        key: names policy and client; not 0. now: monotonic nanoseconds. interval, tolerance: nanoseconds.

        Returns the debt with this request, 1 … tolerance, in nanoseconds. If the request must not pass, it is the time after which it might,
        below 0.
        """
        view = self._view
        q = view.q
        at = (key >> 32 & self._last) * _CELLS
        mine, own = view.buckets + at, -1
        spans, ends = [], []
        for base, until in view.all_buckets:
            first = base + at
            keys = q[first : first + _WAYS].tolist()
            if key in keys:
                way = first + keys.index(key)
                spans.append((q[way + _ORIGIN], q[way + _SPENT]))
                ends.append(until)
                if first == mine:
                    own = way
        begun, arrival = _folded(spans)
        moment = now + _ZERO
        debt = arrival - moment
        if debt > 0:
            debt += interval
            if debt > tolerance:
                return tolerance - debt
            origin = max(begun, moment)
        else:
            debt = interval
            begun = origin = moment
        if own < 0:
            own = self._way(mine, key, now)
        if q[own + _ORIGIN] < begun:
            q[own + _SPENT] = 0
            q[own + _ORIGIN] = origin
        q[own + _SPENT] += interval
        if q[view.until] < now + debt:
            q[view.until] = now + debt
        for until in ends:
            if q[until] < now + debt:
                q[until] = now + debt
        return debt

    def debt(self, key: int, now: int) -> int:
        """The debt of a client in nanoseconds, 0: none. It reads all seats, and writes nothing."""
        return max(0, self._debt(key, now))

    def forget(self, key: int) -> None:
        """Take back all that this process has let a client spend. Once all processes have, the client has no debt."""
        q, first = self._view.q, self._view.buckets + (key >> 32 & self._last) * _CELLS
        keys = q[first : first + _WAYS].tolist()
        if key in keys:
            q[first + keys.index(key) + _SPENT] = 0

    def _way(self, mine: int, key: int, now: int) -> int:
        """A way of this process's set for a key that is not there."""
        q = self._view.q
        keys = q[mine : mine + _WAYS].tolist()
        if 0 in keys:
            way = keys.index(0)
        else:
            debts = []
            for one in keys:
                debts.append(self._debt(one, now))
                if debts[-1] <= 0:
                    break
            least = min(debts)
            way = debts.index(least)
            if least > 0:
                self._forgotten()
            q[mine + way] = 0
        way += mine
        q[way + _ORIGIN] = q[way + _SPENT] = 0
        q[way] = key
        return way

    def _debt(self, key: int, now: int) -> int:
        q = self._view.q
        at = (key >> 32 & self._last) * _CELLS
        spans = []
        for base, _ in self._view.all_buckets:
            keys = q[base + at : base + at + _WAYS].tolist()
            if key in keys:
                way = base + at + keys.index(key)
                spans.append((q[way + _ORIGIN], q[way + _SPENT]))
        return _folded(spans)[1] - _ZERO - now


def _folded(spans: list[tuple[int, int]]) -> tuple[int, int]:
    """Since when a client has been in debt without a break, and its arrival time. spans: the origins of seats and what they spent since."""
    if len(spans) > 1:
        spans.sort()
    begun = arrival = 0
    for origin, spent in spans:
        if origin > arrival:
            begun = arrival = origin
        arrival += spent
    return begun, arrival
