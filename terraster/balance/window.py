"""The members that one pick looks at where there are too many to look at all of them.

They are the next few in turn, the second best of the pick before, and one or some of those that were given back last. The best of
these is nearly as good as the best of all. The turn goes on behind the one that is picked, so equal members have equal shares exactly while
there is little to do. (Choosing among d at random: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 1996. The use of
a remembered one: Mitzenmacher, Prabhakar, Shah, "Load Balancing with Memory", 2002.)

A member comes up as often as its weight says, and neighbours in the configuration are far from each other here, as they may share a rack
that is slow. If no more than `FEW` of the members are let in, a pick looks at all of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd

from .admitted import FEW, Admitted
from .contract import Member

__all__ = ["Window", "window_of"]

WIDTH, WEIGHTED = 6, 3  # turns that a pick looks at, where weights count alike, and where they do not
_EACH = 4  # turns of a member of average weight; one of less weight has at least one
_GOLDEN = 0.6180339887498949


class Window:
    """The turns of some members, which are the ones of ``admitted``. weighted: False if weights count alike.

    places: of those that are let in, in order; known after `look`
    renewed: how often they were found anew
    """

    __slots__ = ("places", "renewed", "_admitted", "_at", "_few", "_order", "_place", "_second", "_seen", "_spread", "_width")

    def __init__(self, admitted: Admitted, members: list[Member], weighted: bool) -> None:
        self.places: list[int] = []
        self.renewed = 0
        self._admitted = admitted
        self._place = {member: place for place, member in enumerate(members)}
        self._spread = _spread([member.weight if weighted else 1 for member in members])
        self._order: list[int] = []
        self._few = False
        self._width = WEIGHTED if weighted else WIDTH
        self._at = 0
        self._second = -1
        self._seen = -1

    def place(self, member: Member) -> int:
        """The place of a member, -1 of one without weight."""
        return self._place.get(member, -1)

    def look(self, relieved: Iterable[int]) -> list[int]:
        """The places to look at, in turn. relieved: those of members that were given back last"""
        admitted = self._admitted
        admitted.look()
        if admitted.seen != self._seen:
            self._renew()
        order, at = self._order, self._at
        if self._few:
            return [*order[at:], *order[:at]]
        width = self._width
        found = order[at : at + width]
        if len(found) < width:
            found += order[: width - len(found)]
        if self._second >= 0:
            found.append(self._second)
        found += relieved
        return found

    def settle(self, looked: list[int], place: int, second: int) -> None:
        """``place`` was picked of those that `look` returned; ``second``: the next best one, -1: not known."""
        self._second = second
        step = looked.index(place) + 1
        at = self._at + (step if self._few else min(step, self._width))
        count = len(self._order)
        self._at = at % count if count else 0

    def _renew(self) -> None:
        self._seen = self._admitted.seen
        self.renewed += 1
        place = self._place
        self.places = places = [place[member] for member in self._admitted.members]
        self._few = len(places) <= FEW
        before = len(self._order)
        if len(places) == len(place):
            self._order = self._spread
        else:
            there = bytearray(len(place))
            for one in places:
                there[one] = 1
            self._order = [one for one in self._spread if there[one]]
            if self._few:  # each once
                self._order = list(dict.fromkeys(self._order))
        count = len(self._order)
        if before and count:
            self._at = (self._at * count + before // 2) // before % count
        else:
            self._at = 0
        if self._second >= 0 and self._second not in places:
            self._second = -1


def window_of(admitted: Admitted | None, members: list[Member], weighted: bool = True) -> Window | None:
    """The window over the members of a balancer that have a weight; None if a pick may look at all of them."""
    return None if admitted is None else Window(admitted, members, weighted)


def _spread(weights: list[int]) -> list[int]:
    """The turns of members by their weights, each at least once, the turns of one and those of neighbours far from each other."""
    total, count = sum(weights), len(weights)
    if len(set(weights)) <= 1:
        turns = list(range(count))
    else:
        turns = [place for place, weight in enumerate(weights) for _ in range(-(-_EACH * count * weight // total))]
    count = len(turns)
    step = max(1, round(count * _GOLDEN))
    while gcd(step, count) != 1:
        step += 1
    return [turns[number * step % count] for number in range(count)]
