"""Weighted least connections: the backend with the fewest requests in flight for its weight, over all workers; by turns when idle.

The idea is LVS's ``wlc`` (Zhang, "Linux Virtual Server for Scalable Network Services", 2000) and nginx's ``least_conn`` with weights.
Requests in flight are whole numbers, though, and so small a part of the truth: with one request at a time every member has none and
the heaviest would get everything; with the request about to be sent left out, the lightest would get too much. nginx breaks exact
ties by smooth round robin. Here every comparison has that in it, as a part of a request:

    minimise (active + 1 − credit) / weight        credit: weight × (turn − start), kept within −1 … 1

A pick moves the common ``turn`` on by 1 / (sum of the weights that can be used) and the picked one's ``start`` by 1 / weight, so that
credit is what a member should have had so far, less what it had: start-time fair queueing (Goyal, Vin, Cheng 1996) on top of
least connections. Backends of equal speed get exactly their weights at any load, and nobody is ever more than two requests (for its
weight) from where plain least connections would send them. As ``turn`` is the same for all, what is compared is
``(active + 1) / weight + start``, and one step per member does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf
from typing import ClassVar

from ..exchange import Exchange
from ..state.cells import BackendCells, SeatBackend
from .contract import Balancer, Member

__all__ = ["WeightedLeastConnections"]

_ACTIVE = SeatBackend.ACTIVE
_RAMPING = BackendCells.RAMPING


class WeightedLeastConnections(Balancer):
    """See above. One step per member and seat at each pick. ``_costs``: 1 / weight, of each member that has one."""

    __slots__ = ("_players", "_costs", "_starts", "_turn")

    name: ClassVar[str] = "weighted-least-connections"

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(members)
        self._players = [member for member in members if member.weight]
        self._costs = [1 / member.weight for member in self._players]
        self._starts = [0.0] * len(self._players)
        self._turn = 0.0

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        players, costs, starts, turn = self._players, self._costs, self._starts, self._turn
        if not players:
            return None
        view = players[0].view  # that of the process, the same for all
        q, rows = view.q, view.all_backends
        refused = tried
        while True:
            best = -1
            least = inf
            price = weights = 0.0
            for place, (member, cost, start) in enumerate(zip(players, costs, starts, strict=True)):
                admit = q[member.admit_at]
                if not admit or (refused and member in refused):
                    continue
                at = member.offset + _ACTIVE
                busy = 1
                for row in rows:
                    busy += q[row + at]
                if member.max_connections and busy > member.max_connections:
                    continue
                if admit == _RAMPING:
                    cost *= member.slowness()
                weights += 1 / cost
                if start < turn - cost:
                    start = turn - cost
                score = busy * cost + start
                if score < least:
                    best, least, price = place, score, cost
            if best < 0:
                return None
            member = players[best]
            if member.take(False):  # a slow start is in the cost
                starts[best] = min(max(starts[best], turn - price), turn) + price
                self._turn = turn + 1 / weights
                return member
            refused = (*refused, member)

    def continue_from(self, old: Balancer) -> None:
        if isinstance(old, WeightedLeastConnections):
            before = {member.backend.id: start - old._turn for member, start in zip(old._players, old._starts, strict=True)}
            self._starts = [self._turn + before.get(member.backend.id, 0.0) for member in self._players]
