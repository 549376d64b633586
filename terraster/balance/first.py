"""First: the first backend in the order of the configuration that can be used and has room.

HAProxy's ``balance first``: with `max_connections` it fills one after the other, so that those at the end may sleep; without, the
others are reserves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from ..exchange import Exchange
from .contract import Balancer, Member

__all__ = ["First"]


class First(Balancer):
    """See above. It keeps nothing."""

    __slots__ = ("_players",)

    name: ClassVar[str] = "first"

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(members)
        self._players = [member for member in members if member.weight]

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        for member in self._players:
            if member.view.q[member.admit_at] and not (tried and member in tried) and member.take():
                return member
        return None
