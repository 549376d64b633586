"""Health from traffic: the reports of workers about their attempts, and the ejections and circuits that follow from them.

    worker ──("traffic", [(slot, serial, kind, status, text, when), …])──▶ Outliers ──eject, readmit, circuit──▶ BackendStates

kind      "connect" (no connection was made), "failure" (no proper response; ``status`` is that of the head if one had come),
          "status" (a response with a status that the location's outlier detection or circuit breaker may count as bad), and for
          requests that try a half-open circuit "good" or "bad" (beside what else is said of a bad one)
serial    the backend's lease; what is said of an older one is of another backend, and dropped
when      time.time() of the end of the attempt; text: one sentence for people

Only what went wrong is reported; what went well is counted, and read from the shared table when a report comes (`Streak`). So a
report costs the same whatever else is configured, and a backend that nothing is said of costs nothing. The decisions are pure:
`terraster.policy.outlier`, `terraster.policy.breaker`. Here are their clock, the sums, and a greenlet that wakes when the next
ejection ends or the next circuit wants a trial.

A backend that gets no work (down, in maintenance, ejected) is not judged: what still comes in is of before. Ejections end by time, some also
by a good active check that was made after them (`Outliers.checked`); circuits only by trials. Everything is kept by backend id over reloads.

Master only; no call yields.
"""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from terraster.config.snapshot import Location
from terraster.logs.program import ProgramLog
from terraster.master.agenda import Agenda
from terraster.master.participant import Participant, Proposal
from terraster.policy.breaker import CLOSED, HALF_OPEN, OPEN, Circuit
from terraster.policy.outlier import Record
from terraster.policy.retry import covers
from terraster.policy.streak import Streak
from terraster.state.cells import BackendCells, MasterCells, SeatBackend, responses
from terraster.state.table import Table

from .probe import shown
from .states import BackendStates

__all__ = ["KEPT", "Report", "Outliers"]

KEPT = 10  # failures of a backend that are remembered

Report = tuple[int, int, str, int, str, float]
"""slot, serial, kind, status, text, when"""


class _Watch:
    """One backend, as its traffic shows it. until: when its ejection ends, on the monotonic clock; out_at: when it began; heard: sum
    of the good ones at the last look; spoilt: heads counted as good whose bodies were none; believed: a check has failed since it
    is ejected; refused: why it is not ejected though it should be, and when; planned: when its circuit is looked at next."""

    __slots__ = (
        "name",
        "slot",
        "address",
        "streak",
        "record",
        "circuit",
        "failures",
        "heard",
        "spoilt",
        "out_at",
        "until",
        "refused",
        "planned",
        "believed",
    )

    def __init__(self, name: str, slot: int, address: str) -> None:
        self.name = name
        self.slot = slot
        self.address = address
        self.streak = Streak()
        self.record = Record()
        self.circuit = Circuit()
        self.failures: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.heard = self.spoilt = 0
        self.out_at = self.until = self.planned = 0.0
        self.believed = False
        self.refused: tuple[str, float] = ("", 0.0)


class Outliers(Participant):
    """The backends of one master, as their traffic shows them.

    table:     where the sums are
    states:    hear of ejections and circuits
    agenda:    ends ejections and tries circuits, by its clock
    wall:      time.time
    """

    name = "outliers"

    def __init__(
        self,
        table: Table,
        states: BackendStates,
        log: ProgramLog,
        agenda: Agenda,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._states = states
        self._log = log
        self._agenda = agenda
        self._wall = wall
        self._watches: dict[str, _Watch] = {}
        self._out: dict[str, _Watch] = {}  # those that are ejected
        self._circuits: dict[str, _Watch] = {}  # those whose circuit is not closed

    def receive(self, batch: Iterable[Report], seat: int) -> None:
        """Take the reports of the worker in a seat. Never raises: a report that cannot be understood is logged."""
        now, wall = self._agenda.clock(), self._wall()
        q, table = self._table.q, self._table
        taken: list[tuple[_Watch, Location, str, int, str, float]] = []
        try:
            for slot, serial, kind, status, text, when in batch:
                found = self._states.at(slot)
                if found is None or serial != q[table.backend(slot) + BackendCells.LEASE]:
                    continue
                name, location = found
                watch = self._watches.get(name)
                if watch is None or watch.slot != slot:
                    watch = self._watches[name] = _Watch(name, slot, self._states.address(name))
                if kind not in ("good", "bad"):
                    watch.failures.append({"when": when, "kind": kind, "status": status, "text": shown(text), "seat": seat})
                    watch.spoilt += kind == "failure" and status > 0 and not _suspicious(location, status)
                taken.append((watch, location, kind, status, shown(text), now - max(0.0, wall - when)))
            seats = table.counting_seats()
            sums = {slot: self._sums(slot, seats) for slot in {watch.slot for watch, *_rest in taken}}
            for watch, location, kind, status, text, moment in taken:
                if kind in ("good", "bad"):
                    self._trial(watch, location, kind == "good", moment, text, now)
                else:
                    self._judge(watch, location, kind, status, text, moment, now, sums[watch.slot])
        except Exception:
            self._log.exception("what the worker in seat %d says of traffic cannot be used", seat)

    def start(self) -> None:
        """Go on from what the master before knew, if this one shares its table: its ejections and open circuits, so that no worker sends to a
        backend that is known to fail."""
        table = self._table
        before = sorted(table.masters()[1:], key=lambda master: table.q[table.master_of(master) + MasterCells.STARTED])
        for slot in self._states.slots() if before else ():
            at = table.backend_of(before[-1], slot)
            cells: list[int] = table.q[at : at + BackendCells.CELLS].tolist()
            if any(cells[cell] for cell in (BackendCells.EJECTED_UNTIL, BackendCells.EJECTED_TIMES, BackendCells.CIRCUIT)):
                self._resume(slot, cells)

    def commit(self, new: Proposal) -> None:
        """The states follow another snapshot: judge by its rules from now on, and forget what is gone."""
        now = self._agenda.clock()
        for watches in (self._watches, self._out, self._circuits):
            for name in [name for name in watches if self._states.location(name) is None]:
                del watches[name]
        for watch in self._watches.values():
            address = self._states.address(watch.name)
            if address != watch.address:
                watch.address = address
                self._forgive(watch, now)
        for watch in sorted(self._out.values(), key=lambda one: one.until):
            if self._rules(watch).outlier is None:
                self._back(watch, "outlier detection was disabled", now)
            elif self._states.too_many(watch.name):
                self._back(watch, "the configuration no longer lets so many be ejected", now)
        for watch in list(self._circuits.values()):
            if self._rules(watch).breaker is None:
                watch.circuit.close(now)
                del self._circuits[watch.name]
                self._states.circuit(watch.name, CLOSED, "it no longer has a circuit breaker")
            else:
                self._plan_circuit(watch)

    def checked(self, name: str, begun: float, ok: bool) -> None:
        """An active check (not type none) of a backend, which began at ``begun`` (time.monotonic()), is over.

        A good one ends the first ejection in a row. Where requests fail again after that, checks do not see what requests see, and a
        backend that they bring back would fail requests at every check: from then on they are believed only once one has failed, too.
        """
        watch = self._out.get(name)
        if watch is None or begun <= watch.out_at:
            return
        if not ok:
            watch.believed = True
        elif watch.record.times == 1 or watch.believed:
            self._back(watch, "a health check passed", self._agenda.clock())

    def retired(self) -> None:
        """A seat was emptied, and trials that its worker counted with it: grant no more than there should be."""
        for watch in self._circuits.values():
            breaker = self._rules(watch).breaker
            if watch.circuit.state == HALF_OPEN and breaker is not None:
                self._grant(watch, watch.circuit.lacking(breaker))

    def _look(self, watch: _Watch) -> None:
        """End what is over for one backend."""
        now = self._agenda.clock()
        if self._out.get(watch.name) is watch and now >= watch.until:
            self._back(watch, f"{round(now - watch.out_at, 1):g} s are over", now)
        breaker = self._rules(watch).breaker if self._circuits.get(watch.name) is watch else None
        if breaker is not None:
            trials = watch.circuit.advance(breaker, now)
            if trials:
                self._grant(watch, trials)
                self._plan_circuit(watch)

    def recent(self, name: str) -> list[dict[str, Any]]:
        """The last failures of a backend, oldest first: ``when kind status text seat``."""
        watch = self._watches.get(name)
        return list(watch.failures) if watch is not None else []

    def detail(self) -> dict[str, dict[str, Any]]:
        """By id, of those that should be ejected and are not: ``not_ejected`` (why) and ``not_ejected_at`` (time.time())."""
        found = {}
        for name, watch in self._watches.items():
            if watch.refused[0] and self._good(watch, self._sums(watch.slot, self._table.counting_seats())[0]) <= watch.streak.good:
                found[name] = {"not_ejected": watch.refused[0], "not_ejected_at": watch.refused[1]}
        return found

    # Judging.

    def _judge(
        self,
        watch: _Watch,
        location: Location,
        kind: str,
        status: int,
        text: str,
        moment: float,
        now: float,
        sums: tuple[int, int],
    ) -> None:
        q, at = self._table.q, self._table.backend(watch.slot)
        outlier, breaker = location.outlier, location.breaker
        place = watch.streak.place(self._good(watch, sums[0]), moment, now)
        state = q[at + BackendCells.STATE]
        if (q[at + BackendCells.ADMIT] == BackendCells.NONE and state != BackendCells.DRAINING) or watch.circuit.state != CLOSED:
            return
        if breaker is not None:
            why = watch.circuit.report(breaker, place, kind, status, now)
            if why:
                self._open(watch, breaker.timeout, f"{why}: {text}")
                return
        if outlier is None or state not in (BackendCells.UP, BackendCells.DRAINING):
            return
        why = watch.record.report(outlier, place, kind, status, sums[1], now)
        if not why:
            if watch.record.failures <= 1 and watch.record.bad_statuses <= 1:
                watch.refused = ("", 0.0)
            return
        refusal = self._states.may_eject(watch.name)
        if refusal:
            if not watch.refused[0]:
                words = self._states.words(watch.name)
                self._log.warning("%s is not ejected: %s: %s; but %s", words, why, text, refusal)
            watch.refused = (f"{why}, but {refusal}", self._wall())
            return
        seconds = watch.record.eject(outlier, now)
        watch.refused = ("", 0.0)
        watch.out_at, watch.until, watch.believed = now, now + seconds, False
        self._out[watch.name] = watch
        self._agenda.at(watch.until, self._look, watch)
        self._states.eject(watch.name, self._wall() + seconds, f"{why}: {text}")
        self._remember(watch, BackendCells.EJECTED_TIMES, watch.record.times)
        self._remember(watch, BackendCells.EJECTED_UNTIL, int((self._wall() + seconds) * 1e9))

    def _trial(self, watch: _Watch, location: Location, good: bool, moment: float, text: str, now: float) -> None:
        breaker = location.breaker
        if breaker is None or not watch.circuit.trial(breaker, good, moment, now):
            return
        if watch.circuit.state == OPEN:
            self._open(watch, breaker.timeout, f"a trial failed: {text}")
            return
        del self._circuits[watch.name]
        watch.record.restart(self._fresh(watch, now), now)
        count = breaker.probes
        self._states.circuit(watch.name, CLOSED, f"its circuit is closed: {count} trial{'s' * (count != 1)} went well")

    def _open(self, watch: _Watch, timeout: float, why: str) -> None:
        self._circuits[watch.name] = watch
        self._plan_circuit(watch)
        self._remember(watch, BackendCells.CIRCUIT_SINCE, int(self._wall() * 1e9))
        self._states.circuit(watch.name, OPEN, f"its circuit is open for {timeout:g} s: {why}", until=self._wall() + timeout)

    def _grant(self, watch: _Watch, trials: int) -> None:
        """Let so many requests try a half-open circuit."""
        table = self._table
        counted = sum(table.q[table.seat_backend(seat, watch.slot) + SeatBackend.TRIALS] for seat in table.counting_seats())
        why = f"its circuit is half-open: {trials} request{'s' * (trials != 1)} may try it"
        self._states.circuit(watch.name, HALF_OPEN, why, counted + trials)

    def _forgive(self, watch: _Watch, now: float) -> None:
        """It has another address: failures of the machine at the old one are not its fault."""
        if watch.name in self._out:
            self._back(watch, "it has another address", now)
        watch.circuit.close(now)
        if self._circuits.pop(watch.name, None) is not None:
            self._states.circuit(watch.name, CLOSED, "it has another address")
        self._fresh(watch, now)
        watch.record, watch.refused = Record(), ("", 0.0)

    def _back(self, watch: _Watch, why: str, now: float) -> None:
        del self._out[watch.name]
        self._remember(watch, BackendCells.EJECTED_UNTIL, 0)
        watch.record.readmit(self._fresh(watch, now), now)
        self._states.readmit(watch.name, why)

    def _remember(self, watch: _Watch, cell: int, value: int) -> None:
        """Write a fact for a later master."""
        at = self._table.backend(watch.slot)
        self._table.q[at + BackendCells.ADDRESS] = _checksum(watch.address)
        self._table.q[at + cell] = value

    def _resume(self, slot: int, cells: list[int]) -> None:
        """Go on from the facts of another master about the backend in a slot."""
        found = self._states.at(slot)
        if found is None:
            return
        name, location = found
        watch = _Watch(name, slot, self._states.address(name))
        if cells[BackendCells.ADDRESS] != _checksum(watch.address):
            return  # another machine
        now, wall = self._agenda.clock(), self._wall()
        left = cells[BackendCells.EJECTED_UNTIL] / 1e9 - wall
        if location.outlier is not None:
            self._watches[name] = watch
            watch.record.resume(cells[BackendCells.EJECTED_TIMES], now)
            self._remember(watch, BackendCells.EJECTED_TIMES, cells[BackendCells.EJECTED_TIMES])
            if left > 0 and not self._states.may_eject(name):
                watch.record.out = True
                watch.out_at, watch.until = now, now + left
                self._out[name] = watch
                self._agenda.at(watch.until, self._look, watch)
                self._states.eject(name, wall + left, "the master before ejected it", again=True)
                self._remember(watch, BackendCells.EJECTED_UNTIL, cells[BackendCells.EJECTED_UNTIL])
        if location.breaker is not None and cells[BackendCells.CIRCUIT] in (OPEN, HALF_OPEN):
            since = min(wall, cells[BackendCells.CIRCUIT_SINCE] / 1e9)
            self._watches[name] = self._circuits[name] = watch
            watch.circuit.resume(now - (wall - since))
            self._remember(watch, BackendCells.CIRCUIT_SINCE, cells[BackendCells.CIRCUIT_SINCE])
            why = "its circuit was open when another master took over"
            self._states.circuit(name, OPEN, why, until=since + location.breaker.timeout, again=True)
            self._plan_circuit(watch)

    def _fresh(self, watch: _Watch, now: float) -> int:
        """End all rows. Returns the attempts so far."""
        good, attempts = self._sums(watch.slot, self._table.counting_seats())
        watch.streak.restart(self._good(watch, good), now)
        return attempts

    def _rules(self, watch: _Watch) -> Location:
        location = self._states.location(watch.name)
        assert location is not None, watch.name
        return location

    # The sums. Only the master moves counters between seats, and it does not yield meanwhile: no need for `Table.consistent`.

    def _sums(self, slot: int, seats: list[int]) -> tuple[int, int]:
        """Responses that were good, as far as their heads said, and attempts, over all workers."""
        q, table = self._table.q, self._table
        good = attempts = 0
        for seat in seats:
            at = table.seat_backend(seat, slot)
            good += responses(q, at) - q[at + SeatBackend.BAD_STATUSES]
            attempts += q[at + SeatBackend.REQUESTS]
        return good, attempts

    def _good(self, watch: _Watch, heads: int) -> int:
        """The good ones of a sum. It goes back when a worker learns, later than others, that the slot has a new lease."""
        if heads < watch.heard:
            watch.spoilt = 0
            watch.streak.good = -1  # whatever is there now may have come since
        watch.heard = heads
        return max(0, heads - watch.spoilt)

    # When.

    def _plan_circuit(self, watch: _Watch) -> None:
        breaker = self._rules(watch).breaker
        due = watch.circuit.due(breaker) if breaker is not None else None
        if due is not None and due != watch.planned:
            watch.planned = due
            self._agenda.at(due, self._look, watch)


def _suspicious(location: Location, status: int) -> bool:
    """True if workers count a response with this status as bad (`LocationPlan.bad_statuses`)."""
    outlier, breaker = location.outlier, location.breaker
    if outlier is not None and (outlier.bad_statuses or outlier.ratio) and covers(outlier.statuses, status):
        return True
    return breaker is not None and covers(breaker.statuses, status)


def _checksum(address: str) -> int:
    return zlib.crc32(address.encode())
