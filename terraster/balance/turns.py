"""The turns of many members by weight: each turn costs the logarithm of their number.

In each round the k-th turn of a member is due at (k + ½) ÷ weight, as in earliest-deadline-first scheduling, and what is due first comes
first. The rounds are alike, so from any moment on each member has exactly its weight of turns in as many turns as the weights add up to,
spread out. (For the turns of `terraster.balance.weighted` each turn costs a step per member.)
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heapreplace

from .contract import Member

__all__ = ["Turns"]


class Turns:
    """The turns of some members of those in ``members``, all with a weight; where turns are due at once, in this order.

    now: the turn that was taken last: its round, its part of the round, and the member's place
    """

    __slots__ = ("now", "_due", "_place")

    def __init__(self, members: Sequence[Member]) -> None:
        self.now = (0, 0.0, -1)
        self._place = {member: place for place, member in enumerate(members)}
        self._due: list[tuple[int, float, int, Member]] = []

    def keep(self, members: Sequence[Member]) -> None:
        """Let these have the turns from now on, and no others. Each goes on with its next turn, so nobody has a debt or comes in a burst."""
        self._due = [self._next(member) for member in members]
        heapify(self._due)

    def take(self) -> Member:
        """The member whose turn it is; it has had it then. There must be one."""
        number, part, place, member = self._due[0]
        self.now = (number, part, place)
        heapreplace(self._due, self._next(member))
        return member

    def _next(self, member: Member) -> tuple[int, float, int, Member]:
        """The first turn of a member after `now`."""
        number, part, last = self.now
        place, double = self._place[member], 2 * member.weight
        at = max(0, int(part * member.weight - 0.5))
        while at < member.weight:
            due = (2 * at + 1) / double  # exact quotients that are equal are equal floats
            if due > part or (due == part and place > last):
                return number, due, place, member
            at += 1
        return number + 1, 1 / double, place, member
