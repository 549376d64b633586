"""The outcomes of attempts: counted in the process's own seat, reported to the master, and acted upon at once.

The master decides for all workers (`terraster.policy.outlier`, `terraster.policy.breaker`), and its decision comes within milliseconds. A
worker that has seen enough to open a circuit or to eject a backend does not wait for it: it suspends the backend until then. So as many
failed requests reach a backend from one worker as the threshold says, beside those that were under way already. It never suspends a backend
that the master would refuse to eject: it follows the same rules (`terraster.policy.state`), and doubts count against suspending.
"""

from __future__ import annotations

from collections.abc import Callable

from .balance.contract import Member
from .config.snapshot import Breaker, Outlier
from .errors import HttpError
from .location_plan import LocationPlan
from .policy.outlier import Suspicion
from .policy.retry import covers
from .policy.state import may_eject, panics
from .state.cells import BackendCells, SeatBackend, responses
from .state.view import SeatView

__all__ = ["Report", "Outcomes"]

Report = Callable[[Member, str, int, str], None]
"""Called with a member, what happened ("connect", "failure", "status"; "good", "bad" for a trial of its circuit), the status of the
response or 0, and a sentence for people."""

_SUSPENSION = 0.5  # seconds within which the master has decided, even if it is busy

_FORGET = 60.0  # seconds after its last failure until a worker suspects a backend no longer

_FAILURES = SeatBackend.FAILURES
_REQUESTS = SeatBackend.REQUESTS
_CONNECT_ERRORS = SeatBackend.CONNECT_ERRORS
_BAD_STATUSES = SeatBackend.BAD_STATUSES


class Outcomes:
    """One worker's. report: tells the master. clock: monotonic seconds."""

    __slots__ = ("_clock", "_report", "_suspended", "_suspicions", "_view")

    def __init__(self, view: SeatView, report: Report, clock: Callable[[], float]) -> None:
        self._view = view
        self._clock = clock
        self._report = report
        self._suspended: list[tuple[float, LocationPlan, Member]] = []
        self._suspicions: dict[Member, Suspicion] = {}

    def sweep(self, now: float) -> None:
        """Resume members about which the master must have decided, and all members of a location in panic."""
        if self._suspended:
            left = []
            for one in self._suspended:
                until, location, member = one
                if until <= now or self._view.q[location.panic_at]:
                    member.resume()
                else:
                    left.append(one)
            self._suspended = left
        for member in [member for member, suspicion in self._suspicions.items() if now - suspicion.at > _FORGET]:
            del self._suspicions[member]

    def went_well(self, breaker: Breaker, member: Member, status: int, trial: bool) -> None:
        """An attempt at a backend with a circuit brought a response. The status decides if it counts as good."""
        if covers(breaker.statuses, status):
            return
        member.streak = 0
        if trial:
            self._report(member, "good", status, "")

    def is_bad(self, location: LocationPlan, member: Member, status: int, trial: bool) -> bool:
        """True if the status of a response counts against the backend; it is counted then."""
        if not covers(location.bad_statuses, status):
            return False
        view = self._view
        view.q[view.backends + member.offset + _BAD_STATUSES] += 1
        if covers(location.reported, status):
            self._against(location, member, "status", status, f"status {status}", trial)
        return True

    def failed(self, location: LocationPlan, member: Member, error: HttpError, counted: bool, trial: bool) -> None:
        """An attempt failed by the backend's fault. counted: True if its response was counted as good when the head came."""
        view = self._view
        q, row = view.q, view.backends + member.offset
        q[row + _FAILURES] += 1
        if error.unconnected:
            q[row + _CONNECT_ERRORS] += 1
        elif counted:
            q[row + _BAD_STATUSES] += 1
        self._against(location, member, "connect" if error.unconnected else "failure", 0, error.detail, trial)

    def _against(self, location: LocationPlan, member: Member, kind: str, status: int, text: str, trial: bool) -> None:
        self._report(member, kind, status, text)
        breaker, outlier = location.breaker, location.outlier
        if breaker is not None and (kind != "status" or covers(breaker.statuses, status)):
            member.streak += 1
            if trial:
                self._report(member, "bad", status, text)
            if (trial or member.streak >= breaker.threshold) and not self._view.q[location.panic_at]:
                self._suspend(location, member)
                return
        if outlier is not None and self._stands_out(outlier, member, kind, status) and self._may_eject(location, outlier, member):
            self._suspend(location, member)

    def _suspend(self, location: LocationPlan, member: Member) -> None:
        """Send no more requests to a backend until the master must have decided."""
        self._suspicions.pop(member, None)
        if member.is_suspended():
            return
        member.suspend()
        self._suspended.append((self._clock() + _SUSPENSION, location, member))

    def _stands_out(self, rules: Outlier, member: Member, kind: str, status: int) -> bool:
        """True if the failures that this worker saw are enough to eject the backend."""
        if member.is_suspended() or member.state() != BackendCells.UP:  # the failures are of before
            self._suspicions.pop(member, None)
            return False
        suspicion = self._suspicions.get(member)
        if suspicion is None or suspicion.since != member.since():
            suspicion = self._suspicions[member] = Suspicion(member.since())
        view = self._view
        q = view.q
        heads = attempts = 0
        for row in {view.table.seat_backend(0, 0), *view.all_backends}:  # the first keeps the counters of ended workers
            at = row + member.offset
            heads += responses(q, at) - (q[at + _BAD_STATUSES] if row == view.backends else 0)
            attempts += q[at + _REQUESTS]
        return suspicion.report(rules, kind, status, heads, attempts, self._clock())

    def _may_eject(self, location: LocationPlan, rules: Outlier, member: Member) -> bool:
        """True if the master would eject the backend, and would not use it all the same (panic, last resort)."""
        if self._view.q[location.panic_at] or not member.weight:
            return False
        total = up = out = 0
        for one in location.members:
            if not one.weight:
                continue
            total += 1
            if one.state() == BackendCells.UP and not one.is_suspended():
                up += 1
            elif one.state() != BackendCells.DRAINING:  # also one that is down may be ejected
                out += 1
        others = up - 1
        return (
            others > 0
            and not may_eject(out, total, rules.max_ejected, others)
            and not panics(others, total, location.panic_threshold)
        )
