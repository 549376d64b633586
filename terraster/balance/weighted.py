"""Smooth weighted round robin: over any window as long as the sum of the weights each backend gets exactly its weight, spread out.

The algorithm is nginx's (ngx_http_upstream_get_peer in src/http/ngx_http_upstream_round_robin.c): at each turn every member gains
its weight, the one that has most (the first of several) is picked and pays the sum of all weights. 5:1:1 gives a a b a c a a, not
a a a a a b c.

The turns repeat after the sum of the weights divided by their greatest common divisor, so they are worked out once, one at a time,
as they are wanted, and kept: a pick costs what it costs in plain round robin instead of one step per member. A member that cannot
be used loses its turns to the next one, so those that are left have exactly their weights again over any window as long as
the sum of *their* weights, and none comes back with a debt or in a burst.

Weights that repeat only after more than `LONGEST` turns are not kept. There the members that can be used play nginx's game among
themselves.

A large group has the turns of `terraster.balance.turns`, which are as even and cost little each.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import gcd
from typing import ClassVar

from ..exchange import Exchange
from .admitted import FEW, Admitted
from .contract import Balancer, Member
from .turns import Turns

__all__ = ["LONGEST", "WeightedRoundRobin"]

LONGEST = 4096  # turns; 32 KiB


class WeightedRoundRobin(Balancer):
    """See above. The state is that of one process: W workers are W such rounds."""

    __slots__ = ("_players", "_weights", "_credit", "_total", "_turns", "_at", "_many", "_seen")

    name: ClassVar[str] = "weighted-round-robin"

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(members)
        self._players = [member for member in members if member.weight]
        divisor = gcd(*(member.weight for member in self._players)) or 1
        self._weights = [member.weight // divisor for member in self._players]
        self._credit = [0] * len(self._weights)  # after the last of the turns that were worked out
        self._total = sum(self._weights)
        self._many = None if self.admitted is None else Turns(self._players)
        self._turns: list[Member] | None = [] if self._total <= LONGEST and self._many is None else None
        self._at = 0
        self._seen = -1

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        turns = self._turns
        if turns is None:
            if self._many is not None and self.admitted is not None:
                return self._pick_of_many(self._many, self.admitted, tried)
            return self._play(tried)
        at = self._at
        left = total = self._total
        while left:
            if at >= len(turns):
                if at >= total:
                    at = 0
                else:
                    turns.append(self._next_turn())
            member = turns[at]
            at += 1
            if member.view.q[member.admit_at] and not (tried and member in tried) and member.take():
                self._at = at
                return member
            left -= 1
        return None

    def _pick_of_many(self, turns: Turns, admitted: Admitted, tried: Collection[Member]) -> Member | None:
        members = admitted.look()
        if admitted.seen != self._seen:
            self._seen = admitted.seen
            turns.keep(members)
        if not members:
            return None
        for _ in range(FEW):
            member = turns.take()
            if member.is_up() and member not in tried and member.take():
                return member
        if (relieved := self.take_relieved(tried)) is not None:
            return relieved
        for number in range(len(members)):  # most are full
            at = (self._at + number) % len(members)
            member = members[at]
            if member.is_up() and member not in tried and member.take():
                self._at = at + 1
                return member
        return None

    def continue_from(self, old: Balancer) -> None:
        """Go on at the same turn if backends and weights are the same; otherwise where it is the turn of the one whose turn it
        was."""
        if not isinstance(old, WeightedRoundRobin):
            return
        if self._many is not None:
            if old._many is not None:
                self._many.now = old._many.now
        elif self._shape() == old._shape():
            self._credit = list(old._credit)
            self._at = old._at
            if self._turns is not None and old._turns is not None:
                mine = dict(zip(old._players, self._players, strict=True))
                self._turns = [mine[member] for member in old._turns]
        elif self._turns is not None and old._turns:
            if old._at == len(old._turns) < old._total:
                old._turns.append(old._next_turn())
            due = old._turns[old._at % len(old._turns)].backend.id
            for at in range(min(self._total, _SEARCH)):
                self._turns.append(self._next_turn())
                if self._turns[at].backend.id == due:
                    self._at = at
                    break

    def _shape(self) -> list[tuple[str, int]]:
        return [(member.backend.id, weight) for member, weight in zip(self._players, self._weights, strict=True)]

    def _next_turn(self) -> Member:
        """One turn of all members."""
        credit = self._credit
        best = 0
        for place, weight in enumerate(self._weights):
            credit[place] += weight
            if credit[place] > credit[best]:
                best = place
        credit[best] -= self._total
        return self._players[best]

    def _play(self, tried: Collection[Member]) -> Member | None:
        """One turn among those that can be used; the others gain and pay nothing."""
        refused: set[Member] = set()
        while True:
            places = [
                place
                for place, member in enumerate(self._players)
                if member.is_up() and member not in tried and member not in refused and member.has_room()
            ]
            if not places:
                return None
            credit, weights = self._credit, self._weights
            best = max(places, key=lambda place: credit[place] + weights[place])
            member = self._players[best]
            if member.take():
                for place in places:
                    credit[place] += weights[place]
                credit[best] -= sum(weights[place] for place in places)
                return member
            refused.add(member)


_SEARCH = 64  # turns looked through for the place to go on; each costs a step per member
