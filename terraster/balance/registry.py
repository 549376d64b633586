"""The balancing algorithms by name. bench/README.md says how much a pick costs."""

from __future__ import annotations

from collections.abc import Sequence

from ..config.snapshot import Location
from ..errors import ConfigError, Problem
from .adaptive import Adaptive
from .consistent_hash import ConsistentHash, IpHash
from .contract import Balancer, Member
from .first import First
from .least_connections import LeastConnections
from .random_two import RandomTwo
from .response_time import ResponseTime
from .round_robin import RoundRobin
from .sticky import StickySession
from .tiers import Tiers
from .weighted import WeightedRoundRobin
from .weighted_least_connections import WeightedLeastConnections

__all__ = ["BALANCERS", "make"]

BALANCERS: dict[str, type[Balancer]] = {
    "round-robin": WeightedRoundRobin,
    "weighted-round-robin": WeightedRoundRobin,
    "least-connections": LeastConnections,
    "weighted-least-connections": WeightedLeastConnections,
    "random-two": RandomTwo,
    "response-time": ResponseTime,
    "ip-hash": IpHash,
    "consistent-hash": ConsistentHash,
    "adaptive": Adaptive,
    "sticky-session": StickySession,
    "first": First,
}
"""Canonical name → what does it. Both round robins honour weights."""


def make(location: Location, members: Sequence[Member]) -> Balancer:
    """The balancer of a location: the algorithm that it names, once for each priority that its backends have, and sessions around
    it. After it `Balancer.resume_from` may be called, then `Balancer.prepare`. Raises `ConfigError` for a name that is not in
    `BALANCERS`, or a key to hash by that is not one."""
    if location.policy != StickySession.name:
        return _tiers(location, location.policy, members)
    return StickySession(members, location, _tiers(location, location.sticky.algorithm, members))


def _tiers(location: Location, policy: str, members: Sequence[Member]) -> Balancer:
    if len({member.backend.priority for member in members}) > 1:
        return Tiers(members, lambda tier: _one(location, policy, tier))
    return _one(location, policy, members)


def _one(location: Location, policy: str, members: Sequence[Member]) -> Balancer:
    kind = BALANCERS.get(policy)
    if kind is None or kind is StickySession:
        reason = "is not built" if kind is None else "cannot choose for itself"
        raise ConfigError([Problem("configuration", 0, 0, f"algorithm `{policy}` {reason}")])
    if issubclass(kind, ConsistentHash):
        try:
            return kind(members, location.hash_on if kind is ConsistentHash else "client-ip", location.hash_balance_factor)
        except ValueError as error:
            raise ConfigError([Problem("configuration", 0, 0, f"location {location.id}: {error}")]) from None
    if kind is WeightedRoundRobin and len({member.weight for member in members if member.weight}) <= 1:
        kind = RoundRobin  # the same turns, for less
    return kind(members)
