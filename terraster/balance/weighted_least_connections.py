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

Of a large group a pick looks at a few members (`terraster.balance.window`), and at all only if none of these can be used.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf
from typing import ClassVar

from ..exchange import Exchange
from ..state.cells import BackendCells, SeatBackend
from .contract import Balancer, Member
from .window import Window, window_of

__all__ = ["WeightedLeastConnections"]

_ACTIVE = SeatBackend.ACTIVE
_RAMPING = BackendCells.RAMPING


class WeightedLeastConnections(Balancer):
    """See above. One step per seat and member looked at. ``_costs``: 1 / weight, of each member that has one."""

    __slots__ = ("_players", "_costs", "_starts", "_turn", "_window", "_weights", "_left", "_renewed")

    name: ClassVar[str] = "weighted-least-connections"

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(members)
        self._players = [member for member in members if member.weight]
        self._costs = [1 / member.weight for member in self._players]
        self._starts = [0.0] * len(self._players)
        self._turn = 0.0
        self._window = window_of(self.admitted, self._players)
        self._weights = 1.0  # the sum of the weights that can be used, of a large group
        self._left = 0  # picks until it is computed again
        self._renewed = -1

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        players, costs, starts, turn = self._players, self._costs, self._starts, self._turn
        if not players:
            return None
        if self._window is not None:
            return self._pick_of_many(self._window, tried, now)
        view = players[0].view  # that of the process, the same for all
        q, rows = view.cells, view.all_backends
        refused = tried
        while True:
            best = -1
            least = inf
            price = weights = 0.0
            for place, member in enumerate(players):
                admit = q[member.admit_at]
                if not admit or (refused and member in refused):
                    continue
                at = member.offset + _ACTIVE
                busy = 1
                for row in rows:
                    busy += q[row + at]
                if member.max_connections and busy > member.max_connections:
                    continue
                cost, start = costs[place], starts[place]
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

    def _pick_of_many(self, window: Window, tried: Collection[Member], now: float) -> Member | None:
        turn, starts = self._turn, self._starts
        refused = tried
        place = -1 if self.relieved is None else window.place(self.relieved)
        looked = window.look(() if place < 0 else (place,))
        if window.renewed != self._renewed or self._left <= 0:
            self._weigh(window)
        for places in (looked, window.places):
            while True:
                place, second, price = self._cheapest(places, refused, now)
                if place < 0:
                    break
                member = self._players[place]
                if member.take(False):  # a slow start is in the cost
                    starts[place] = min(max(starts[place], turn - price), turn) + price
                    self._turn = turn + 1 / self._weights
                    self._left -= 1
                    window.settle(places, place, second)
                    return member
                refused = (*refused, member)
        return None

    def _weigh(self, window: Window) -> None:
        """Add up the weights of those that can be used: when these have changed, and once in as many picks as there are members."""
        costs, players = self._costs, self._players
        slow = {member: member.ramp() for member in self.admitted.ramping} if self.admitted is not None else {}
        weights = sum([1 / costs[place] for place in window.places])
        if slow:
            weights -= sum([(1 - slow[players[place]]) / costs[place] for place in window.places if players[place] in slow])
        self._weights = weights or 1.0
        self._left = len(window.places)
        self._renewed = window.renewed

    def _cheapest(self, places: Sequence[int], refused: Collection[Member], now: float) -> tuple[int, int, float]:
        """The first of those with the lowest score, the next one, and the cost of the first; -1 for nobody."""
        players, costs, starts, turn = self._players, self._costs, self._starts, self._turn
        view = players[0].view
        q, rows = view.cells, view.all_backends
        best = second = -1
        least = other = inf
        price = 0.0
        for place in places:
            member = players[place]
            admit = q[member.admit_at]
            if not admit or (refused and member in refused):
                continue
            at = member.offset + _ACTIVE
            busy = 1
            for row in rows:
                busy += q[row + at]
            if member.max_connections and busy > member.max_connections:
                continue
            cost, start = costs[place], starts[place]
            if admit == _RAMPING:
                cost *= member.slowness()
            if start < turn - cost:
                start = turn - cost
            score = busy * cost + start
            if score < least:
                second, other = best, least
                best, least, price = place, score, cost
            elif score < other and place != best:
                second, other = place, score
        return best, second, price

    def continue_from(self, old: Balancer) -> None:
        if isinstance(old, WeightedLeastConnections):
            before = {member.backend.id: start - old._turn for member, start in zip(old._players, old._starts, strict=True)}
            self._starts = [self._turn + before.get(member.backend.id, 0.0) for member in self._players]
