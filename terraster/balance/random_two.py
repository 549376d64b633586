"""The power of two choices: two draws by weight, and the less busy of the two, over all workers.

Mitzenmacher ("The Power of Two Choices in Randomized Load Balancing", 1996) shows that the second draw takes the longest queue from
log n / log log n to log log n, and Envoy, Finagle and nginx (``random two``) do it so. A pick costs the same however many backends
there are, and W workers that do not know each other's next pick do not all run to the same idle backend.

Weights come in twice: draws are by weight, and busy means requests in flight, the next one included, for the weight. By itself that
prefers heavy backends while there is little to do, where hardly anything is in flight, so what a member had beyond its weight (or
short of it) counts as up to `_OWED` requests more (or less), by the arithmetic of `terraster.balance.weighted_least_connections`.

The two are never the same one, as in Finagle: of four backends a slow one would meet itself in one pick of sixteen and get these
unasked, more than it can do. (One 10 times slower under 600 requests/s, `make bench-balance`: p99 345 ms; with the same one twice 2.1 s.)

A slow start is a smaller weight, which is read again after as many picks as there are members. So the share grows evenly at any load.

If a draw meets a member that cannot be used, it is repeated a few times. Then the choice is made among the members that can be used. In a
large group those that are not let in are not drawn.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection, Sequence
from itertools import accumulate
from random import Random
from typing import ClassVar

from ..exchange import Exchange
from ..state.cells import BackendCells
from .contract import Balancer, Member

__all__ = ["RandomTwo"]

_RAMPING = BackendCells.RAMPING
_OWED = 2  # requests; shares of 5:3:1:1 and 10:1 … 1 were off by up to 0.8 % in simulation, with 1 by 6.2 %, with 0 by 100 %
_DRAWS = 6  # of which two must meet a member that can be used


class RandomTwo(Balancer):
    """See above. Each balancer draws for itself. A child of the master seeds its draws anew at its first pick, or all workers would draw
    the same."""

    __slots__ = (
        "_players",
        "_weights",
        "_costs",
        "_sums",
        "_starts",
        "_turn",
        "_step",
        "_left",
        "_ramps",
        "_random",
        "_draw",
        "_seat",
        "_seen",
        "_there",
    )

    name: ClassVar[str] = "random-two"

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(members)
        self._random = Random()
        self._draw = self._random.random
        self._seat = -1  # that the draws belong to
        self._seen = -1
        self._there: list[int] = []  # ADMIT of each member of a large group, once it was read
        self._players = [member for member in members if member.weight]
        self._starts = [0.0] * len(self._players)
        self._turn = 0.0
        self._ramps = False  # some weights are not whole
        self._costs = [1.0] * len(self._players)
        self._weigh([float(member.weight) for member in self._players])

    def _weigh(self, weights: list[float]) -> None:
        """Let these be the weights from now on, each times its `Member.ramp`."""
        self._weights = weights
        self._left = 0
        self._price(weights)

    def _price(self, weights: list[float]) -> None:
        """Draw by these weights. The number of requests that a member is owed, or owes, stays the same."""
        turn, before = self._turn, self._costs
        self._costs = costs = [1 / weight for weight in weights]
        self._starts = [turn + (start - turn) * (new / old) for start, old, new in zip(self._starts, before, costs, strict=True)]
        there = self._there
        self._sums = list(
            accumulate([weight if one else 0.0 for weight, one in zip(weights, there, strict=True)] if there else weights)
        )

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        players, sums = self._players, self._sums
        if not players:
            return None
        if self.admitted is not None:
            self.admitted.look()
            if self.admitted.seen != self._seen:
                self._seen = self.admitted.seen
                self._count()
                sums = self._sums
            if not sums[-1]:
                return None
        view = players[0].view
        q = view.cells
        draw, total, last = self._draw, sums[-1], len(players) - 1
        one = -1
        for _ in range(_DRAWS):
            place = bisect(sums, draw() * total, 0, last)
            member = players[place]
            if not q[member.admit_at] or (tried and member in tried):
                continue
            if one < 0:
                one = place
                continue
            if one == place:
                continue
            if self._score(place) < self._score(one):
                one, place = place, one
            if self._take(one):
                return players[one]
            if self._take(place):
                return players[place]
            return self._among(tried)
        if one >= 0 and self._take(one):  # nobody else can be used, or it has nearly all of the weight
            return players[one]
        return self._among(tried)

    def _score(self, place: int) -> float:
        """How busy a member is for its weight, the next request included."""
        cost = self._costs[place]
        start = self._starts[place]
        least = self._turn - _OWED * cost
        member = self._players[place]
        return (member.active() + 1) * cost + (start if start > least else least)

    def _take(self, place: int) -> bool:
        member = self._players[place]
        if not member.take(False):  # a slow start is in the weights
            return False
        if not self._left:
            self._count()
        self._left -= 1
        cost, turn = self._costs[place], self._turn
        self._starts[place] = min(max(self._starts[place] + cost, turn - _OWED * cost), turn + _OWED * cost)
        self._turn = turn + self._step
        return True

    def seed(self, number: int) -> None:
        """Make draws that can be made again. For tests."""
        self._random.seed(number)
        self._seat = self._players[0].view.seat if self._players else -1

    def _count(self) -> None:
        """Read which members are up and which are in slow start, and compute by how much a pick moves the turn. It is called once in as
        many picks as there are members, as this changes rarely."""
        view = self._players[0].view
        if view.seat != self._seat:
            self._random.seed()
            self._seat = view.seat
        q = view.q
        admitted = [q[member.admit_at] for member in self._players]
        if self.admitted is not None:
            self._there = admitted
        if (ramps := _RAMPING in admitted) or self._ramps or self._there:
            self._ramps = ramps
            self._price([weight * member.ramp() for weight, member in zip(self._weights, self._players, strict=True)])
        if 0 in admitted:  # nothing is owed to one that is away
            self._starts = [start if one else self._turn for start, one in zip(self._starts, admitted, strict=True)]
        usable = sum([1 / cost for cost, one in zip(self._costs, admitted, strict=True) if one])
        self._step = 1 / usable if usable else 0.0
        self._left = len(self._players)

    def _among(self, tried: Collection[Member]) -> Member | None:
        """The same choice, after a look at every member. In a large group the one that was given back last goes first, as most are full."""
        if self.admitted is not None and self.relieved in self.admitted.members and self.relieved not in tried:
            place = self._players.index(self.relieved)
            if self._take(place):
                return self._players[place]
        places = [
            place
            for place, member in enumerate(self._players)
            if member.is_up() and not (tried and member in tried) and member.has_room()
        ]
        while places:
            sums = list(accumulate(1 / self._costs[place] for place in places))
            drawn = {places[bisect(sums, self._draw() * sums[-1], 0, len(places) - 1)] for _ in range(2)}
            for place in sorted(drawn, key=self._score):
                if self._take(place):
                    return self._players[place]
                places.remove(place)
        return None

    def continue_from(self, old: Balancer) -> None:
        if isinstance(old, RandomTwo):
            before = {member.backend.id: start - old._turn for member, start in zip(old._players, old._starts, strict=True)}
            self._starts = [self._turn + before.get(member.backend.id, 0.0) for member in self._players]
