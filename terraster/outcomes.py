"""What traffic says of the backends: counted in the own seat, reported to the master, and acted upon at once where a circuit asks for it.

The master decides for all workers (`terraster.policy.outlier`, `terraster.policy.breaker`), and its word comes within milliseconds. A
worker that has seen enough to open a circuit does not wait for it: it leaves the backend alone until then.
"""

from __future__ import annotations

from collections.abc import Callable

from .balance.contract import Member
from .config.snapshot import Breaker
from .errors import HttpError
from .plan import LocationPlan
from .policy.retry import covers
from .state.table import SeatBackend
from .state.view import SeatView

__all__ = ["Report", "Outcomes"]

Report = Callable[[Member, str, int, str], None]
"""Called with a member, what happened ("connect", "failure", "status"; "good", "bad" for a trial of its circuit), the status of the
response or 0, and a sentence."""

_SHUT = 0.5  # seconds by which the master's word has come, whatever else it does

_FAILURES = SeatBackend.FAILURES
_CONNECT_ERRORS = SeatBackend.CONNECT_ERRORS
_BAD_STATUSES = SeatBackend.BAD_STATUSES


class Outcomes:
    """One worker's. report: tells the master. clock: monotonic seconds."""

    __slots__ = ("_clock", "_report", "_shut", "_view")

    def __init__(self, view: SeatView, report: Report, clock: Callable[[], float]) -> None:
        self._view = view
        self._clock = clock
        self._report = report
        self._shut: list[tuple[float, LocationPlan, Member]] = []

    def sweep(self, now: float) -> None:
        """Go by the master's word again where it must have come, and where it is that all are to be used."""
        if self._shut:
            over = [one for one in self._shut if one[0] <= now or self._view.q[one[1].panic_at]]
            self._shut = [one for one in self._shut if one not in over]
            for _until, _location, member in over:
                member.open()

    def went_well(self, breaker: Breaker, member: Member, status: int, trial: bool) -> None:
        """An attempt at a backend with a circuit brought a response; whether it went well by that depends on the status."""
        if covers(breaker.statuses, status):
            return
        member.streak = 0
        if trial:
            self._report(member, "good", status, "")

    def is_bad(self, location: LocationPlan, member: Member, status: int, trial: bool) -> bool:
        """Whether the status of a response speaks against the backend; it is counted then."""
        if not covers(location.bad_statuses, status):
            return False
        view = self._view
        view.q[view.backends + member.offset + _BAD_STATUSES] += 1
        if covers(location.reported, status):
            self._against(location, member, "status", status, f"status {status}", trial)
        return True

    def failed(self, location: LocationPlan, member: Member, error: HttpError, counted: bool, trial: bool) -> None:
        """An attempt failed by the backend's fault. counted: as a good response, for its head."""
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
        breaker = location.breaker
        if breaker is None or (kind == "status" and not covers(breaker.statuses, status)):
            return
        member.streak += 1
        if trial:
            self._report(member, "bad", status, text)
        if (trial or member.streak >= breaker.threshold) and not self._view.q[location.panic_at]:
            member.shut()
            self._shut.append((self._clock() + _SHUT, location, member))
