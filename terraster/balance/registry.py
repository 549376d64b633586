"""The balancing algorithms by name.

Cost of a pick with its `done`, two seats, all up (CPython 3.11, 2026-11-23, ``timeit``, a machine with other work), at 3, 30 and
300 members: round robin 0.40, 0.41, 0.42 µs; weighted 0.40, 0.41, 0.43; least connections 1.4, 6.5, 57. A ``max_connections`` adds
0.2 µs.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..config.snapshot import Location
from ..errors import ConfigError, Problem
from .contract import Balancer, Member
from .least_connections import LeastConnections
from .random_two import RandomTwo
from .round_robin import RoundRobin
from .weighted import WeightedRoundRobin
from .weighted_least_connections import WeightedLeastConnections

__all__ = ["BALANCERS", "make"]

BALANCERS: dict[str, type[Balancer]] = {
    "round-robin": WeightedRoundRobin,
    "weighted-round-robin": WeightedRoundRobin,
    "least-connections": LeastConnections,
    "weighted-least-connections": WeightedLeastConnections,
    "random-two": RandomTwo,
}
"""Canonical name → what does it. Both round robins honour weights."""


def make(location: Location, members: Sequence[Member]) -> Balancer:
    """The balancer of a location. Raises `ConfigError` for a name that is not in `BALANCERS`."""
    kind = BALANCERS.get(location.policy)
    if kind is None:
        raise ConfigError([Problem("configuration", 0, 0, f"algorithm `{location.policy}` is not built")])
    if kind is WeightedRoundRobin and len({member.weight for member in members if member.weight}) <= 1:
        kind = RoundRobin  # the same turns, for less
    return kind(members)
