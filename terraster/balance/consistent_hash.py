"""Consistent hashing: what is asked for with the same key goes to the same backend, in every worker and after every restart.

The ring is `terraster.balance.ring`, the key `terraster.balance.keys`. Where the member of a key cannot be used the next one on the
ring has the key until it can, so nobody else's keys move. Slow start does not apply: the keys are this member's and nobody else's.

With a balance factor no member has more at once than the factor times its fair part of what all have: ``ceil(factor × (active + 1) ×
weight / weights)``, over the members that are up (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016;
HAProxy's ``hash-balance-factor``). Requests beyond that go to the next member on the ring that has room. That costs a look at every member
at each pick; in a large group only once in as many picks as a `_PART` of its members, and after `_LATER` seconds. So there the bound is one
request off at most while all send. Where the bound leaves nobody (all others were tried), it gives way.

Where many of a large group are away, a ring of those that are left is made of the points of the whole one: who comes next stays the same.

`ip-hash` is the same by the address of the client.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import ceil
from typing import ClassVar

from ..exchange import Exchange
from .contract import Balancer, Member
from .keys import Key, key_of
from .ring import Ring

__all__ = ["ConsistentHash", "IpHash"]


_PART = 16
_LATER = 0.05


class ConsistentHash(Balancer):
    """See above. ``hash_on`` and ``factor`` as in `Location`; a factor of 0 sets no bound."""

    __slots__ = ("_players", "_key", "_factor", "_ring", "_left", "_steps", "_seen", "_per_weight", "_picks", "_due")

    name: ClassVar[str] = "consistent-hash"

    def __init__(self, members: Sequence[Member], hash_on: str = "client-ip", factor: float = 0.0) -> None:
        super().__init__(members)
        self._players = [member for member in members if member.weight]
        self._key: Key = key_of(hash_on)
        self._factor = factor
        self._ring: Ring | None = None
        self._left: Ring | None = None  # of those of a large group that are let in
        self._steps = 0  # made for want of it
        self._seen = -1
        self._per_weight = 0.0  # the bound, as it was computed last
        self._picks = 0  # since then
        self._due = 0.0

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        players = self._players
        if not players:
            return None
        ring = self._ring or self._build()
        if self.admitted is not None:
            self.admitted.look()
            if self.admitted.seen != self._seen:
                self._seen, self._left, self._steps, self._due = self.admitted.seen, None, 0, 0.0
            if not self.admitted.members:
                return None
            ring = self._left or ring
        place = ring.place(b"" if exchange is None else self._key(exchange))
        bound = 0.0 if not self._factor else self._bound() if self.admitted is None else self._bound_of_many(now)
        full: list[Member] = []
        member = players[ring.owners[place]]
        if self._takes(member, tried, bound, full):
            return member
        for number in ring.after(place):
            member = players[number]
            self._steps += 1
            if self._takes(member, tried, bound, full):
                if self.admitted is not None and self._left is None and self._steps * 8 > len(ring.owners):
                    there = set(self.admitted.members)
                    self._left = ring.of({number for number, player in enumerate(players) if player in there})
                return member
        for member in full:
            if member.take(False):
                return member
        return None

    def _takes(self, member: Member, tried: Collection[Member], bound: float, full: list[Member]) -> bool:
        """True if the member was taken. A member that only the bound excludes is added to ``full``."""
        if not member.view.q[member.admit_at] or (tried and member in tried):
            return False
        if bound and member.active() + 1 > ceil(bound * member.weight - 1e-9):
            full.append(member)
            return False
        return member.take(False)

    def _bound(self) -> float:
        """Requests that a member may have at once for a weight of 1, the next one included."""
        active = weights = 0
        for member in self._players:
            if member.view.q[member.admit_at]:
                active += member.active()
                weights += member.weight
        return self._factor * (active + 1) / weights if weights else 0.0

    def _bound_of_many(self, now: float) -> float:
        """`_bound`, as it was a moment ago."""
        self._picks += 1
        count = len(self._players)
        if now >= self._due or self._picks * _PART >= count:
            self._per_weight = self._bound()
            self._picks = 0
            self._due = now + _LATER * max(1.0, count / 1000)
        return self._per_weight

    def prepare(self) -> None:
        if self._ring is None and self._players:
            self._build()

    def _build(self) -> Ring:
        self._ring = Ring(self._shape())
        return self._ring

    def _shape(self) -> tuple[tuple[str, int], ...]:
        return tuple((member.backend.id, member.weight) for member in self._players)

    def continue_from(self, old: Balancer) -> None:
        if isinstance(old, ConsistentHash) and old._ring is not None and old._ring.members == self._shape():
            self._ring = old._ring


class IpHash(ConsistentHash):
    """By the client's address, /64 of IPv6."""

    __slots__ = ()

    name: ClassVar[str] = "ip-hash"
