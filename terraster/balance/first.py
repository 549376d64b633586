"""First: the first backend in the order of the configuration that can be used and has room.

HAProxy's ``balance first``: with `max_connections` it fills one after the other, so that those at the end may sleep; without, the
others are reserves.

In a large group a pick begins where the one before it found room, or at one before that which was given back. From the first one on it
looks again once in a while, as another worker may have given one back: after `_LATER` seconds, and when that costs little beside the picks
since.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from ..exchange import Exchange
from .admitted import FEW, Admitted
from .contract import Balancer, Member

__all__ = ["First"]


_LATER = 0.01  # seconds


class First(Balancer):
    """See above. ``_open``: where it begins to look, ``_place``: of each member, both of a large group."""

    __slots__ = ("_players", "_place", "_open", "_picks", "_due", "_seen")

    name: ClassVar[str] = "first"

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(members)
        self._players = [member for member in members if member.weight]
        self._place = {} if self.admitted is None else {member: place for place, member in enumerate(self._players)}
        self._open = self._picks = 0
        self._due = 0.0
        self._seen = -1

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        if self.admitted is not None:
            return self._pick_of_many(self.admitted, tried, now)
        for member in self._players:
            if member.view.q[member.admit_at] and not (tried and member in tried) and member.take():
                return member
        return None

    def _pick_of_many(self, admitted: Admitted, tried: Collection[Member], now: float) -> Member | None:
        members = admitted.look()
        if admitted.seen != self._seen:
            self._seen = admitted.seen
            self._place = {member: place for place, member in enumerate(members)}
            self._open = 0
        elif now >= self._due and self._picks * FEW >= self._open:
            self._open = self._picks = 0
            self._due = now + _LATER
        self._picks += 1
        begin, goes_on = self._open, True
        for place in (*range(begin, len(members)), *range(begin)) if begin else range(len(members)):
            member = members[place]
            if member.is_up() and member not in tried and member.take():
                if place < begin:
                    self._open = place
                return member
            goes_on = goes_on and place >= begin and bool(member.max_connections) and not member.has_room()
            if goes_on:
                self._open = place + 1
        return None

    def done(self, member: Member, failed: bool, now: float) -> None:
        super().done(member, failed, now)
        if self._open:
            self._open = min(self._open, self._place.get(member, self._open))
