"""The backends of a location as an explanation lists them: which take new work, which one is picked, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from terraster.balance.contract import Member
from terraster.balance.registry import BALANCERS
from terraster.balance.sticky import StickySession
from terraster.config.snapshot import Location
from terraster.exchange import Exchange
from terraster.location_plan import LocationPlan
from terraster.state.cells import BackendCells

__all__ = ["Candidate", "candidates", "manner"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backend of the location.

    state: as the status has it. active: requests in flight, over all workers. takes: True if it gets new work now. picked: True if it is the
    one that the balancer picks. note: in words, what keeps work from it, or has operators changed about it; "" = nothing
    """

    url: str
    state: str
    weight: int
    active: int
    takes: bool
    picked: bool
    note: str


def candidates(location: LocationPlan, picked: Member | None, changes: Mapping[str, Any]) -> list[Candidate]:
    """The backends of a location. changes: by operators, by the backend's id, as the master tells them
    (`terraster.master.operator.account.overridden`)"""
    return [_candidate(location, member, member is picked, changes.get(member.backend.id, {})) for member in location.members]


def _candidate(location: LocationPlan, member: Member, picked: bool, change: Mapping[str, Any]) -> Candidate:
    q, cells = member.view.q, member.view.table.backend(member.slot)
    state = BackendCells.STATES[member.state()]
    admit, circuit, active = q[member.admit_at], BackendCells.CIRCUITS[q[cells + BackendCells.CIRCUIT]], member.active()
    notes = []
    if state != "up":
        used = bool(admit) and bool(q[location.panic_at])
        order = change.get("order")
        ordered = state in ("draining", "maintenance")  # a backend that is down is so by its health checks, whatever was ordered
        notes.append(f"{state}{_by(order) if ordered else ''}{', used all the same, as too few are healthy' if used else ''}")
        if order and not ordered and order["what"] in ("drain", "maintenance"):
            notes.append(f"{order['what']} ordered{_by(order)}")
    if circuit != "closed":
        notes.append(f"circuit {circuit}{': few requests try it' if circuit == 'half-open' else ''}")
    if admit == BackendCells.RAMPING:
        notes.append(f"slow start, {member.ramp():.0%} of its share")
    if member.max_connections and active >= member.max_connections:
        notes.append(f"full, {active} of {member.max_connections} requests")
    if change.get("weight_override"):
        notes.append(f"weight{_by(change['weight_override'])}, configured {change['configured_weight']}")
    if member.backend.priority:
        notes.append(f"priority {member.backend.priority}: used when none before it has room")
    takes = member.is_up() and member.weight > 0 and member.has_room()
    if not member.weight:
        notes.append("takes no new work")
    return Candidate(member.backend.display, state, member.weight, active, takes, picked, ", ".join(notes))


def _by(action: Mapping[str, Any] | None) -> str:
    """The operator who gave the order, and the reason."""
    if not action:
        return ""
    by = f" by {action['by']}" if action["by"] else " by an operator"
    return f"{by} ({action['reason']})" if action["reason"] else by


_MANNERS = {
    "round-robin": "in turn; each worker has its own turns, so another one may come next",
    "weighted-round-robin": "in turn by weight; each worker has its own turns, so another one may come next",
    "least-connections": "the one with the fewest requests in flight; ties in turn, which each worker has for itself",
    "weighted-least-connections": "the one with the fewest requests in flight for its weight; ties in turn, which each worker has for itself",
    "random-two": "the less busy of two that are drawn by weight, so another one may come next",
    "adaptive": "the less busy of two that are drawn by weight and by what workers measured, so another one may come next",
    "response-time": "by the times to answer that each worker measures, so another one may come next",
    "ip-hash": "by the client's address: the same one for all its requests",
    "consistent-hash": "by a hash of {hash_on}: the same one for the same value",
    "first": "the first that has room",
}
assert _MANNERS.keys() | {StickySession.name} == BALANCERS.keys()


def manner(location: Location, plan: LocationPlan, exchange: Exchange) -> str:
    """How a backend of a location is picked, in words."""
    if location.policy != StickySession.name:
        return _MANNERS[location.policy].format(hash_on=location.hash_on)
    if plan.balancer.keeps(exchange):
        return "the one that the client's cookie names"
    return f"the client has no cookie that names one: {_MANNERS[location.sticky.algorithm].format(hash_on=location.hash_on)}"
