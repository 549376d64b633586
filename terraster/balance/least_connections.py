"""Least connections: the backend with the fewest requests in flight, over all workers; ties in turn.

Requests in flight are read from the shared table at each pick, so W workers act as one. Weights are left out of account (0 apart),
as the name says; weighted-least-connections is another algorithm. Each pick starts to look behind the member that was picked last:
without that the first in the configuration would get everything while the load is low (nginx gives tied peers their turns for the
same reason).

One that starts slowly counts as busier than it is, or it would be the least busy of all for as long as its share is small.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from ..exchange import Exchange
from ..state.cells import BackendCells, SeatBackend
from .contract import Balancer, Member
from .round_robin import continued

__all__ = ["LeastConnections"]

_ACTIVE = SeatBackend.ACTIVE
_RAMPING = BackendCells.RAMPING
_NEVER = 1 << 62  # more requests than anyone has: not to be picked


class LeastConnections(Balancer):
    """See above. One step per member and seat at each pick."""

    __slots__ = ("_turns", "_at")

    name: ClassVar[str] = "least-connections"

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(members)
        self._turns = [member for member in members if member.weight]
        self._at = 0

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        turns = self._turns
        if not turns:
            return None
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
        q, rows = view.q, view.all_backends
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

    def continue_from(self, old: Balancer) -> None:
        if isinstance(old, LeastConnections):
            self._at = continued(old._turns, old._at, self._turns)
