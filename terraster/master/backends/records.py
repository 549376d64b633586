"""The backends and locations of `terraster.master.backends.states`: all that is known of each backend, and counts for each location.

The counts are there so that a change of one backend costs the same however many its location has: each knows as what it was counted
last. Master only.
"""

from __future__ import annotations

from terraster.config.snapshot import Backend as Configured
from terraster.config.snapshot import Location
from terraster.policy.breaker import CLOSED
from terraster.policy.state import Facts, evaluate
from terraster.state.cells import BackendCells

__all__ = ["BackendRecord", "LocationRecord", "counts"]


class BackendRecord:
    """One backend, with its last evaluation.

    away:           it was out of work, so that it starts slowly when it is back; ramp_from: when that began, on the steady clock
    trials, retrial: `BackendCells.TRIAL_LIMIT` of its half-open circuit, and when (time.time()) an open one becomes half-open
    """

    __slots__ = (
        "id",
        "slot",
        "weight",
        "address",
        "words",
        "place",
        "facts",
        "evaluation",
        "since",
        "away",
        "ramp_from",
        "trials",
        "retrial",
        "known",
        "counted",
    )

    def __init__(self, backend: Configured, place: LocationRecord, since: float, away: bool) -> None:
        self.id = backend.id
        self.facts = Facts()
        self.evaluation = evaluate(self.facts)
        self.since = since
        self.away = away
        self.ramp_from = self.retrial = 0.0
        self.trials = 0
        self.known = False  # True once its checks, or their absence, decided anything
        self.move(backend, place)

    def move(self, backend: Configured, place: LocationRecord) -> None:
        self.slot, self.weight, self.address, self.place = backend.slot, backend.weight, backend.address, place
        self.counted = _NOWHERE  # what it counts for in its place
        self.words = f"backend {backend.display} of {place.words}"


_NOWHERE: tuple[int, ...] = (0,) * 7


class LocationRecord:
    """One location, and how many of its backends are what (`counts`)."""

    __slots__ = (
        "location",
        "words",
        "members",
        "unknown",
        "weighty",
        "considered",
        "up",
        "usable",
        "ejected",
        "spare",
        "panic",
        "resort",
    )

    def __init__(self, location: Location, words: str) -> None:
        self.location = location
        self.words = words
        self.members: list[BackendRecord] = []
        self.panic = self.resort = False
        self.unknown = self.weighty = self.considered = self.up = self.usable = self.ejected = self.spare = 0

    def count(self, record: BackendRecord) -> None:
        """Count a record as it is now, no longer as it was."""
        was, now = record.counted, counts(record)
        if was != now:
            record.counted = now
            self.unknown += now[0] - was[0]
            self.weighty += now[1] - was[1]
            self.considered += now[2] - was[2]
            self.up += now[3] - was[3]
            self.usable += now[4] - was[4]
            self.ejected += now[5] - was[5]
            self.spare += now[6] - was[6]

    @property
    def share(self) -> float:
        """How many may be ejected."""
        outlier = self.location.outlier
        return outlier.max_ejected if outlier is not None else 0.0

    def lets_in(self, record: BackendRecord) -> int:
        """ADMIT of a record, panic and last resort included."""
        facts = record.facts
        tried = record.evaluation.admit == BackendCells.TRIAL  # only trials close a circuit, and a closed one may end the panic
        if self.panic and not tried and not facts.unresolved and not facts.is_out and record.weight > 0:
            return BackendCells.ALL
        if self.resort and is_spare(record):
            return BackendCells.ALL
        return record.evaluation.admit


def counts(record: BackendRecord) -> tuple[int, ...]:
    """For each count of a location, 1 if this backend is counted: unknown (no result yet, whatever its weight); with a weight: at all,
    considered (no operator took it out), up, usable (gets new work by itself), ejected, spare."""
    if record.weight <= 0:
        return (int(not record.known), 0, 0, 0, 0, 0, 0)
    facts, evaluation = record.facts, record.evaluation
    return (
        int(not record.known),
        1,
        int(not facts.is_out),
        int(evaluation.state == BackendCells.UP),
        int(evaluation.admit != BackendCells.NONE),
        int(facts.ejected != ""),
        int(is_spare(record)),
    )


def is_spare(record: BackendRecord) -> bool:
    """True if it would be used if its location had no other."""
    facts = record.facts
    return record.evaluation.state == BackendCells.EJECTED and facts.circuit == CLOSED and facts.order is None
