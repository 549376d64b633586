"""Round robin over backends of equal weight: each in turn.

A member that cannot be used loses its turn and the next one has it, so the others keep equal shares: with a of a, b, c down the
turns are b c b c, not b b c. The same holds for the picks of retries, which use up turns like any other pick.

In a large group the next one that is let in is looked up after `FEW` steps. Where many are full, the one that was given back last is tried
before all others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import ClassVar

from ..exchange import Exchange
from .admitted import FEW
from .contract import Balancer, Member

__all__ = ["RoundRobin", "continued"]


class RoundRobin(Balancer):
    """A cursor that goes round. Weights other than 0 count alike here: `terraster.balance.registry.make` knows when they do."""

    __slots__ = ("_turns", "_at", "_places", "_seen")

    name: ClassVar[str] = "round-robin"

    def __init__(self, members: Sequence[Member]) -> None:
        Balancer.__init__(self, members)
        self._turns = [member for member in members if member.weight]
        self._at = 0
        self._places: list[int] = []  # of those let in, in a large group
        self._seen = -1

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        turns = self._turns
        at = self._at
        count = len(turns)
        left = count if self.admitted is None else FEW
        while left:
            if at >= count:
                at = 0
            member = turns[at]
            at += 1
            if member.view.cells[member.admit_at] and not (tried and member in tried) and member.take():
                self._at = at
                return member
            left -= 1
        return None if self.admitted is None else self._far(at % count, tried)

    def _far(self, at: int, tried: Collection[Member]) -> Member | None:
        """The first one at ``at`` or behind it, of a large group."""
        turns, admitted = self._turns, self.admitted
        if admitted is None or not admitted.look():
            return None
        if admitted.seen != self._seen:
            self._seen = admitted.seen
            there = set(admitted.members)
            self._places = [place for place, member in enumerate(turns) if member in there]
        places = self._places
        first = bisect_left(places, at)
        for number in range(len(places)):
            if number == FEW and (relieved := self.take_relieved(tried)) is not None:
                return relieved
            place = places[(first + number) % len(places)]
            member = turns[place]
            if member.is_up() and member not in tried and member.take():
                self._at = place + 1
                return member
        return None

    def continue_from(self, old: Balancer) -> None:
        if isinstance(old, RoundRobin):
            self._at = continued(old._turns, old._at, self._turns)


def continued(old: Sequence[Member], at: int, new: Sequence[Member]) -> int:
    """The place in ``new`` of a cursor that was before ``old[at]``: before the first member whose turn it was and that is still there."""
    places = {member.backend.id: place for place, member in enumerate(new)}
    for step in range(len(old)):
        place = places.get(old[(at + step) % len(old)].backend.id)
        if place is not None:
            return place
    return 0
