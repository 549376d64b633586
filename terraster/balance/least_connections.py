"""Least connections: the backend with the fewest requests in flight, over all workers; ties in turn.

Requests in flight are read from the shared table at each pick, so W workers act as one. Weights are left out of account (0 apart),
as the name says; weighted-least-connections is another algorithm. Each pick starts to look behind the member that was picked last:
without that the first in the configuration would get everything while the load is low (nginx gives tied peers their turns for the
same reason).

Of a large group a pick looks at a few members (`terraster.balance.window`), and at all only if none of these can be used.

One that starts slowly counts as busier than it is, or it would be the least busy of all for as long as its share is small.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import ClassVar

from ..exchange import Exchange
from ..state.cells import BackendCells, SeatBackend
from .contract import Balancer, Member
from .round_robin import continued
from .window import Window, window_of

__all__ = ["LeastConnections"]

_ACTIVE = SeatBackend.ACTIVE
_RAMPING = BackendCells.RAMPING
_IDLE = 12
_NEVER = 1 << 62  # more requests than anyone has: not to be picked


class LeastConnections(Balancer):
    """See above. One step per seat and member looked at."""

    __slots__ = ("_turns", "_at", "_window", "_idle")

    name: ClassVar[str] = "least-connections"

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(members)
        self._turns = [member for member in members if member.weight]
        self._at = 0
        self._window = window_of(self.admitted, self._turns, weighted=False)
        self._idle: deque[int] = deque(maxlen=_IDLE)  # of a large group: without a request of this worker after one was given back

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        turns = self._turns
        if not turns:
            return None
        if self._window is not None:
            return self._pick_of_many(self._window, tried)
        load = self._load(tried)
        while (least := min(load)) < _NEVER:
            try:
                place = load.index(least, self._at)
            except ValueError:
                place = load.index(least)
            member = turns[place]
            if member.take():
                self._at = place + 1
                return member
            load[place] = _NEVER
        return None

    def _load(self, tried: Collection[Member]) -> list[int]:
        """Requests in flight per place, `_NEVER` where the member cannot be used."""
        load = []
        view = self._turns[0].view  # that of the process, the same for all
        q, rows = view.cells, view.all_backends
        for member in self._turns:
            total = _NEVER
            admit = q[member.admit_at]
            if admit and not (tried and member in tried):
                at = member.offset + _ACTIVE
                total = 0
                for row in rows:
                    total += q[row + at]
                if member.max_connections and total >= member.max_connections:
                    total = _NEVER
                elif admit == _RAMPING:
                    total = int(total * member.slowness())
            load.append(total)
        return load

    def _pick_of_many(self, window: Window, tried: Collection[Member]) -> Member | None:
        refused = tried
        for places in (window.look(self._idle), window.places):
            while True:
                place, second = self._least(places, refused)
                if place < 0:
                    break
                member = self._turns[place]
                if member.take():
                    window.settle(places, place, second)
                    return member
                refused = (*refused, member)
        return None

    def _least(self, places: Sequence[int], refused: Collection[Member]) -> tuple[int, int]:
        """The first of the least busy, and the next one; -1 for nobody. The search ends at one without requests: nobody is less busy."""
        turns = self._turns
        view = turns[0].view
        q, rows = view.cells, view.all_backends
        best = second = -1
        least = other = _NEVER
        for place in places:
            member = turns[place]
            admit = q[member.admit_at]
            if not admit or (refused and member in refused):
                continue
            at = member.offset + _ACTIVE
            total = 0
            for row in rows:
                total += q[row + at]
            if member.max_connections and total >= member.max_connections:
                continue
            if admit == _RAMPING:
                total = int(total * member.slowness())
            if total < least:
                best, least, second, other = place, total, best, least
                if not total:
                    break
            elif total < other and place != best:
                second, other = place, total
        return best, second

    def done(self, member: Member, failed: bool, now: float) -> None:
        Balancer.done(self, member, failed, now)
        if self._window is not None:
            view = member.view
            if not view.cells[view.backends + member.offset + _ACTIVE]:
                place = self._window.place(member)
                if place >= 0:
                    self._idle.append(place)

    def continue_from(self, old: Balancer) -> None:
        if isinstance(old, LeastConnections):
            self._at = continued(old._turns, old._at, self._turns)
