"""The state of every backend: the one place where all facts about backends become the cells that workers read.

    Prober ──probed────────────────┐
    names ──resolved───────────────┤
    operators ──ordered────────────┼─▶ BackendStates ─▶ `BackendCells` but LEASE and PROBES …, `LocationCells.PANIC`
    Outliers ──eject readmit circuit┘

It is the only writer of these cells (ADMIT, STATE, SINCE, WEIGHT, RAMP, TRIAL_LIMIT, CIRCUIT, EJECTIONS, OPENINGS). The decisions
are pure (`terraster.policy.state`); here they are taken when a fact changes, written, and logged, one line each.
A change of one backend costs the same whatever else is configured: each location keeps count of its backends, and only where it
begins or ends to panic all of them are written.

All facts are kept by backend id over reloads; ids that are gone are forgotten. Slow start is for backends that were away (down,
ejected, in maintenance) or are new, but not for the first result of what Terraster started with, nor after a drain.

Master only; no call yields. Moments are time.time(). The module is longer than 400 lines because one place weighs all facts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from terraster.config.snapshot import Location, Service
from terraster.logs.program import ProgramLog
from terraster.master.agenda import Agenda, Entry
from terraster.master.events import Events
from terraster.master.participant import Participant, Proposal
from terraster.policy.breaker import CLOSED, HALF_OPEN, OPEN
from terraster.policy.state import WHOLE, Order, evaluate, may_eject, panics, ramp
from terraster.state.cells import CHANGES, BackendCells, LocationCells, MasterCells, SeatBackend
from terraster.state.table import Table

from .records import BackendRecord, LocationRecord

__all__ = ["Order", "BackendStates"]

_STEP = 0.1  # seconds between two steps of a ramp
_ENDLESS = 2**62  # trials


class BackendStates(Participant):
    """The states of all backends of one master.

    table:  where they go
    log:    one line for each change of state
    agenda: moves ramps, by its own clock, because an operator may set the other one
    clock:  time.time, for people

    """

    name = "states"

    def __init__(
        self,
        table: Table,
        log: ProgramLog,
        agenda: Agenda,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._log = log
        self._clock = clock
        self._agenda = agenda
        self._records: dict[str, BackendRecord] = {}
        self._slots: dict[int, BackendRecord] = {}
        self._places: dict[str, LocationRecord] = {}
        self._followed: dict[str, Service] = {}
        self._ramping: dict[str, BackendRecord] = {}
        self._unwell: dict[str, BackendRecord] = {}  # those that are not up, or that an operator forced
        self._began = False
        self.events = Events()
        self._step: Entry | None = None  # of the ramps

    # Facts from others.

    def commit(self, new: Proposal) -> None:
        """From now on the backends of this snapshot (with slots) and no others. Of those that are new `probed` tells next; a
        location does not begin to panic before there is a result for all its backends. Services that are the same objects are not looked at."""
        snapshot, now, q = new.snapshot, self._clock(), self._table.q
        followed, self._followed = self._followed, {service.name: service for service in snapshot.services}
        before: dict[str, BackendRecord] = {}
        places: dict[str, LocationRecord] = {}
        for name, service in followed.items():
            if self._followed.get(name) is not service:
                self._leave(service, before, places)
        fresh_places: list[LocationRecord] = []
        for service in snapshot.services:
            if followed.get(service.name) is service:
                continue
            for location in service.locations:
                old = places.get(location.id)
                if old is not None and old.location is location:
                    self._keep(old)
                    continue
                place = self._places[location.id] = LocationRecord(location, location.id)
                fresh_places.append(place)
                if old is not None:
                    place.panic, place.resort = old.panic, old.resort
                for backend in location.backends:
                    record = before.get(backend.id)
                    fresh = record is None
                    if record is None:
                        record = BackendRecord(backend, place, now, away=self._began)
                    record.move(backend, place)
                    place.members.append(record)
                    self._enter(record)
                    place.count(record)
                    q[self._table.backend(record.slot) + BackendCells.WEIGHT] = record.weight
                    if fresh:  # its slot may have been its own before: counters stay, the rest begins anew
                        for cell in (BackendCells.RAMP, BackendCells.TRIAL_LIMIT, BackendCells.CIRCUIT):
                            q[self._table.backend(record.slot) + cell] = 0
        for name in before.keys() & self._ramping.keys():
            if self._records.get(name) is not self._ramping[name]:
                del self._ramping[name]
        for place in fresh_places:
            self._consider(place, afresh=True)
        for name, gone in before.items():
            if name not in self._records and gone.slot not in self._slots:
                q[self._table.backend(gone.slot) + BackendCells.SINCE] = (
                    0  # else a later master would take it for that of another backend
                )
        self._began = True

    def start(self) -> None:
        """Go on from the times of the master before, if this one shares its table."""
        for record in self._records.values():
            self._continue(record)

    def _continue(self, record: BackendRecord) -> None:
        """A backend that has the state which it had with the master before has had it for as long as that one says."""
        table = self._table
        before = max(table.masters()[1:], key=lambda master: table.q[table.master_of(master) + MasterCells.STARTED], default=None)
        if before is None:
            return
        at = table.backend_of(before, record.slot)
        since = table.q[at + BackendCells.SINCE] / 1e9
        if since and table.q[at + BackendCells.STATE] == record.evaluation.state and since < record.since:
            record.since = since
            self._write(record)

    def _leave(self, service: Service, members: dict[str, BackendRecord], places: dict[str, LocationRecord]) -> None:
        """Take what belongs to a service out of the books, and hand it over."""
        for location in service.locations:
            place = places[location.id] = self._places.pop(location.id)
            for record in place.members:
                members[record.id] = self._records.pop(record.id)
                self._unwell.pop(record.id, None)
                del self._slots[record.slot]

    def _keep(self, place: LocationRecord) -> None:
        self._places[place.location.id] = place
        for record in place.members:
            self._enter(record)

    def _enter(self, record: BackendRecord) -> None:
        self._records[record.id] = self._slots[record.slot] = record
        self._mark(record)

    def _mark(self, record: BackendRecord) -> None:
        """Keep it in mind if it is not healthy."""
        if record.evaluation.state != BackendCells.UP or record.facts.forced is not None:
            self._unwell[record.id] = record
        else:
            self._unwell.pop(record.id, None)

    def probed(self, name: str, up: bool, since: float, reason: str, answer: str = "") -> bool:
        """The verdict of the checks of a backend, or of their absence. since: of the verdict. answer: the beginning of what the backend
        answered to the probe that decided, for the history. True if the backend goes up or down by it:
        then the caller logs it, because many backends may share a check."""
        record = self._records.get(name)
        if record is None:
            return False
        facts = record.facts
        if record.known and facts.up == up and facts.reason == reason:
            return False
        first = not record.known
        record.known = True
        facts.up, facts.reason = up, reason
        changed = self._settle(record, since, quiet=first and up, answer=answer)
        if first and not changed and record.evaluation.state == BackendCells.DOWN:
            record.since = since
            self._write(record)
        if changed and record.evaluation.state not in (BackendCells.UP, BackendCells.DOWN):
            self._tell(record, "")
            return False
        return changed

    def resolved(self, name: str, ok: bool, reason: str) -> None:
        """The name of a backend has an address, or not. reason: why not, completes "is down:"."""
        record = self._records.get(name)
        if record is not None:
            record.facts.unresolved = "" if ok else reason or "its name does not resolve"
            self._settle_and_tell(record, "its name resolves" if ok else "")

    def ordered(self, name: str, order: Order | None) -> None:
        """The order of an operator for a backend; None = no order any longer. The caller ends an order at its `until`."""
        record = self._records.get(name)
        if record is not None and record.facts.order != order:
            record.facts.order = order
            self._settle_and_tell(record, "enabled again" if order is None else "")

    def forced(self, name: str, order: Order | None) -> None:
        """The state that an operator wants in place of the checks' verdict; None = the checks decide again. The caller ends it at its
        `until`."""
        record = self._records.get(name)
        if record is not None and record.facts.forced != order:
            record.facts.forced = order
            self._settle_and_tell(record, "the health checks decide again" if order is None else f"by {order.by or 'an operator'}")
            self._write(record)

    def is_paused(self, name: str) -> bool:
        """True if an operator wants no probes of this backend."""
        record = self._records.get(name)
        return record is not None and record.facts.forced is not None and record.facts.forced.is_pause

    def verdict(self, name: str) -> bool:
        """True if the checks, or their absence, say that a backend is up."""
        record = self._records.get(name)
        return record is not None and bool(record.facts.up)

    # What `terraster.master.backends.outliers` decides.

    def at(self, slot: int) -> tuple[str, Location] | None:
        """The backend in a slot: its id and its location."""
        record = self._slots.get(slot)
        return None if record is None else (record.id, record.place.location)

    def location(self, name: str) -> Location | None:
        """The location of a backend, None if there is no such backend."""
        record = self._records.get(name)
        return None if record is None else record.place.location

    def address(self, name: str) -> str:
        """The address of a backend, "" if the name does not resolve or has never been looked up."""
        return self._records[name].address

    def words(self, name: str) -> str:
        """A backend as a line of the log names it."""
        return self._records[name].words

    def may_eject(self, name: str) -> str:
        """Why a backend may not be ejected; "" if it may."""
        record = self._records[name]
        place = record.place
        if record.weight <= 0:
            return ""
        others = place.usable - (record.evaluation.admit != BackendCells.NONE)
        return may_eject(place.ejected, place.weighty, place.share, others)

    def too_many(self, name: str) -> bool:
        """True if more backends of this one's location are ejected than may be."""
        record = self._records[name]
        place = record.place
        return record.weight > 0 and place.ejected > 0 and may_eject(place.ejected - 1, place.weighty, place.share, 1) != ""

    def slots(self) -> list[int]:
        """The slots of all backends."""
        return list(self._slots)

    def eject(self, name: str, until: float, why: str, *, again: bool = False) -> None:
        """Eject a backend; see `may_eject`. again: another master did that, and counted it."""
        record = self._records[name]
        seconds = f"{round(until - self._clock(), 1):g}"
        self._table.q[self._table.backend(record.slot) + BackendCells.EJECTIONS] += not again
        record.facts.ejected, record.facts.until = why, until
        changed = self._settle(record)
        if again:
            self._continue(record)
        if changed:
            self._log.warning("%s is ejected for %s s: %s", record.words, seconds, why)

    def readmit(self, name: str, why: str) -> None:
        """End an ejection. why: a few words for the log."""
        record = self._records[name]
        record.facts.ejected, record.facts.until = "", 0.0
        self._settle_and_tell(record, why)

    def circuit(self, name: str, state: int, why: str, trial_limit: int = 0, until: float = 0.0, *, again: bool = False) -> None:
        """The circuit of a backend is in this state (`terraster.policy.breaker`). why: a clause; trial_limit: of a half-open one,
        see `BackendCells.TRIAL_LIMIT`; until: when an open one is tried (time.time()); again: see `eject`."""
        record = self._records[name]
        q, at = self._table.q, self._table.backend(record.slot)
        facts, was = record.facts, record.facts.circuit
        facts.circuit, facts.broken = state, why
        record.trials, record.retrial = trial_limit, until
        q[at + BackendCells.CIRCUIT] = state
        q[at + BackendCells.OPENINGS] += state == OPEN and not again
        changed = self._settle(record)
        if again:
            self._continue(record)
        if changed:
            self._tell(record, why if state == CLOSED else "")
        elif state == OPEN:
            self._log.warning("%s: %s", record.words, why)
        elif state != was:
            self._log.info("%s: %s", record.words, why)

    def _move_ramps(self) -> None:
        now, q = self._agenda.clock(), self._table.q
        for name, record in list(self._ramping.items()):
            value = ramp(now - record.ramp_from, record.place.location.slow_start)
            if value < WHOLE:
                q[self._table.backend(record.slot) + BackendCells.RAMP] = value
            else:
                self._end_ramp(name, record)
        self._step = self._agenda.after(_STEP, self._move_ramps) if self._ramping else None

    def _end_ramp(self, name: str, record: BackendRecord) -> None:
        del self._ramping[name]
        record.facts.ramping = False
        self._settle(record)

    # For the status.

    def detail(self) -> dict[str, dict[str, Any]]:
        """The state of each backend, by id; see `one`."""
        return {name: self._detail(record) for name, record in self._records.items()}

    def trouble(self) -> dict[str, dict[str, Any]]:
        return {name: self._detail(record) for name, record in self._unwell.items()}

    def one(self, name: str) -> dict[str, Any]:
        """The state of a backend; {} if there is no such backend.

        state, since, why: see `BackendCells.STATE`; by: the operator who ordered it, or ""; until: when an order or ejection ends, or an
        open circuit is tried, 0 = not by itself; admit: of `BackendCells.ADMITS`; ramp: 0 … 1000; circuit: of
        `BackendCells.CIRCUITS`; panic: True if its location panics
        """
        record = self._records.get(name)
        return {} if record is None else self._detail(record)

    def _detail(self, record: BackendRecord) -> dict[str, Any]:
        q, at = self._table.q, self._table.backend(record.slot)
        evaluation, facts = record.evaluation, record.facts
        until = 0.0
        if evaluation.state in (BackendCells.MAINTENANCE, BackendCells.DRAINING) and facts.order is not None:
            until = facts.order.until
        elif evaluation.state in (BackendCells.UP, BackendCells.DOWN) and facts.forced is not None:
            until = facts.forced.until if evaluation.why == facts.forced.words else 0.0
        elif evaluation.state == BackendCells.EJECTED:
            until = facts.until if facts.ejected else record.retrial
        return {
            "state": BackendCells.STATES[evaluation.state],
            "since": record.since,
            "why": evaluation.why,
            "by": evaluation.by,
            "until": until,
            "admit": BackendCells.ADMITS[q[at + BackendCells.ADMIT]],
            "ramp": q[at + BackendCells.RAMP] if facts.ramping else WHOLE,
            "circuit": BackendCells.CIRCUITS[facts.circuit],
            "panic": record.place.panic,
        }

    # From facts to cells.

    def _settle(self, record: BackendRecord, since: float | None = None, quiet: bool = False, answer: str = "") -> bool:
        """Evaluate a backend after its facts changed, and write the result. True if its state is another one. quiet: without an event"""
        place, before = record.place, record.evaluation
        moment = self._clock() if since is None else since
        after = evaluate(record.facts)
        if after.state == BackendCells.UP and before.state != BackendCells.UP:
            self._return(record)
            after = evaluate(record.facts)
        elif after.state not in (BackendCells.UP, BackendCells.DRAINING):
            record.away = record.away or record.known or record.facts.order is not None
            record.facts.ramping = False
            self._ramping.pop(record.id, None)
        changed = after.state != before.state
        record.evaluation = after
        self._mark(record)
        place.count(record)
        if changed:
            record.since = moment
            if not quiet:
                told = answer if after.state == BackendCells.DOWN else ""
                self.events.state(BackendCells.STATES[after.state], after.why, after.by, record.id, told)
        self._write(record)
        self._consider(place)
        return changed

    def _return(self, record: BackendRecord) -> None:
        """It is up again."""
        if record.away and record.place.location.slow_start > 0:
            record.facts.ramping = True
            record.ramp_from = self._agenda.clock()
            self._table.q[self._table.backend(record.slot) + BackendCells.RAMP] = ramp(0.0, record.place.location.slow_start)
            self._ramping[record.id] = record
            if self._step is None:
                self._step = self._agenda.after(_STEP, self._move_ramps)
        record.away = False

    def _settle_and_tell(self, record: BackendRecord, how: str) -> None:
        if self._settle(record):
            self._tell(record, how)

    def _tell(self, record: BackendRecord, how: str) -> None:
        evaluation, order = record.evaluation, record.facts.order
        brackets = f" ({how})" if how else ""
        because = f": {evaluation.why}" if evaluation.why else ""
        if evaluation.state == BackendCells.UP:
            self._log.info("%s is up%s%s", record.words, because, brackets)
        elif evaluation.state in (BackendCells.DOWN, BackendCells.EJECTED):
            self._log.warning("%s is %s%s%s", record.words, BackendCells.STATES[evaluation.state], because, brackets)
        elif order is not None:
            what = "is draining" if evaluation.state == BackendCells.DRAINING else "is in maintenance"
            by = f" (by {order.by})" if order.by else ""
            self._log.info("%s %s%s%s", record.words, what, because, by)

    def _consider(self, place: LocationRecord, afresh: bool = False) -> None:
        """Begin or end the panic of a location, or the use of its last resort. afresh: write its cells whatever they were."""
        panic, resort = place.panic, place.resort
        if not place.unknown:
            panic = panics(place.up, place.considered, place.location.panic_threshold)
            resort = not panic and not place.usable and place.spare > 0 and place.share < 1
        if (panic, resort) == (place.panic, place.resort) and not afresh:
            return
        if panic != place.panic:
            share = f"{place.up} of {place.considered} backends {'is' if place.up == 1 else 'are'} up"
            if panic:
                threshold = place.location.panic_threshold
                self._log.warning(
                    "%s entered panic mode: %s, less than %g %%, using all of them", place.words, share, threshold * 100
                )
            else:
                self._log.info("%s left panic mode: %s", place.words, share)
        if resort and not place.resort:
            self._log.warning("all backends that %s has left are ejected: using them", place.words)
        if place.panic and not panic:
            for record in place.members:  # the trials of the panic were more than were granted
                record.trials = max(record.trials, self._table.backend_sum(record.slot, SeatBackend.TRIALS) + 1)
        place.panic, place.resort = panic, resort
        if place.location.slot >= 0:
            self._table.q[self._table.location(place.location.slot) + LocationCells.PANIC] = int(panic)
        for record in place.members:
            self._write(record)

    def _write(self, record: BackendRecord) -> None:
        q, at = self._table.q, self._table.backend(record.slot)
        q[at + BackendCells.STATE] = record.evaluation.state
        q[at + BackendCells.SINCE] = int(record.since * 1e9)
        q[at + BackendCells.TRIAL_LIMIT] = _ENDLESS if record.place.panic and record.facts.circuit == HALF_OPEN else record.trials
        q[at + BackendCells.ADMIT] = record.place.lets_in(record)
        q[self._table.master + CHANGES] += 1
