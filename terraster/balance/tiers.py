"""Tiers: backends of several priorities in one location, each tier with a balancer of its own.

A tier is asked only when those before it have nobody to give: all down, full or tried. That is nginx's ``backup`` and Envoy's
priorities, without Envoy's spilling by percentages: there is work for the second tier exactly when the first has no room for it.
A backend that starts slowly leaves the rest of its work to the next tier until it is whole, as it would to the others of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

from ..exchange import Exchange
from .contract import Balancer, Member

__all__ = ["Tiers"]


class Tiers(Balancer):
    """See above. ``kind`` makes the balancer of a tier out of its members."""

    __slots__ = ("measures", "_tiers", "_of")

    name: ClassVar[str] = "tiers"

    def __init__(self, members: Sequence[Member], kind: Callable[[Sequence[Member]], Balancer]) -> None:
        super().__init__(members)
        priorities = sorted({member.backend.priority for member in members})
        self._tiers = tuple(kind([member for member in members if member.backend.priority == priority]) for priority in priorities)
        self._of = {member: tier for tier in self._tiers for member in tier.members}
        self.measures = any(tier.measures for tier in self._tiers)

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        for tier in self._tiers:
            member = tier.pick(exchange, tried, now)
            if member is not None:
                return member
        return None

    def answered(self, member: Member, seconds: float, now: float) -> None:
        self._of[member].answered(member, seconds, now)

    def done(self, member: Member, failed: bool, now: float) -> None:
        self._of[member].done(member, failed, now)

    def parts(self) -> tuple[Balancer, ...]:
        return self._tiers

    def prepare(self) -> None:
        for tier in self._tiers:
            tier.prepare()
