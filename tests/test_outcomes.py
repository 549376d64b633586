"""A worker that suspends a backend at once does nothing that the master would not: both are told the same, and compared."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from terraster.balance.contract import Member
from terraster.config.snapshot import Breaker, Outlier
from terraster.errors import HttpError
from terraster.outcomes import Outcomes
from terraster.state.cells import BackendCells, LocationCells, SeatBackend
from terraster.state.view import SeatView

from .harness.ward import Ward

RULES = Outlier(failures=3, connect_errors=2, bad_statuses=4, statuses=((503, 503),), ratio=0.5, min_requests=8, max_ejected=0.5)


class Worker:
    """One worker of a ward: it counts as the phases do. The master hears its reports when `deliver` is called."""

    def __init__(self, ward: Ward, seat: int) -> None:
        self.ward = ward
        self.view = SeatView(ward.table)
        self.view.sit(seat)
        self.seat = seat
        self.reports: list[tuple[int, int, str, int, str, float]] = []
        self.outcomes = Outcomes(self.view, self.report, lambda: ward.now)
        self.follow()

    def follow(self) -> None:
        """Take the plan of the ward's snapshot."""
        (place,) = self.ward.snapshot.services[0].locations
        self.location: Any = SimpleNamespace(
            members=tuple(Member(backend, self.view) for backend in place.backends),
            breaker=place.breaker,
            outlier=place.outlier,
            bad_statuses=((503, 503),),
            reported=((503, 503),),
            panic_at=self.ward.table.location(place.slot) + LocationCells.PANIC,
            panic_threshold=place.panic_threshold,
        )

    def report(self, member: Member, kind: str, status: int, text: str) -> None:
        lease = self.ward.q[self.ward.table.backend(member.slot) + BackendCells.LEASE]
        self.reports.append((member.slot, lease, kind, status, text, self.ward.wall()))

    def deliver(self) -> None:
        """Let the master hear the reports so far."""
        self.ward.outliers.receive(self.reports, self.seat)
        self.reports.clear()

    def ask(self, place: int, kind: str) -> bool:
        """One attempt at a backend, if it may be asked; True if it was."""
        member = self.location.members[place]
        if not member.is_up():
            return False
        self.ward.now += 0.01
        row = self.view.backends + member.offset
        self.view.q[row + SeatBackend.REQUESTS] += 1
        if kind in ("good", "bad"):
            self.view.q[row + SeatBackend.BUCKET] += 1
            self.outcomes.is_bad(self.location, member, 503 if kind == "bad" else 200, False)
        else:
            error = HttpError("no")
            error.unconnected = kind == "connect"
            self.outcomes.failed(self.location, member, error, False, False)
        return True


def test_as_many_failures_reach_a_backend_as_the_rules_say() -> None:
    for kind, most in (("connect", 2), ("failure", 3), ("bad", 4)):
        ward = Ward(1, 1, 1, outlier=RULES)
        worker = Worker(ward, 1)
        for _ in range(7):
            worker.ask(1, "good")
        assert [worker.ask(0, kind) for _ in range(10)] == [True] * most + [False] * (10 - most)


def test_a_suspended_one_is_used_again_when_the_master_has_not_ejected_it() -> None:
    ward = Ward(1, 1, 1, outlier=RULES)
    worker = Worker(ward, 1)
    assert [worker.ask(0, "connect") for _ in range(3)] == [True, True, False]
    ward.now += 0.6
    worker.outcomes.sweep(ward.now)
    assert [worker.ask(0, "connect") for _ in range(3)] == [True, True, False], "and the row begins anew"


def test_two_that_fail_together_are_not_both_suspended_where_one_may_be_ejected() -> None:
    ward = Ward(1, 1, 1, outlier=RULES)
    worker = Worker(ward, 1)
    for _ in range(2):
        assert worker.ask(0, "connect") and worker.ask(1, "connect")
    assert [worker.location.members[place].is_suspended() for place in range(3)] == [True, False, False]


def test_an_attempt_that_was_under_way_does_not_suspend_once_more() -> None:
    """Its end would let the backend be used again too early when it is suspended the next time."""
    ward = Ward(1, breaker=Breaker(threshold=1))
    worker = Worker(ward, 1)
    (member,) = worker.location.members
    assert worker.ask(0, "failure") and member.is_suspended()
    ward.now += 0.3
    worker.outcomes.failed(worker.location, member, HttpError("no"), False, False)
    ward.now += 0.3
    worker.outcomes.sweep(ward.now)
    assert worker.ask(0, "failure") and member.is_suspended()
    ward.now += 0.3
    worker.outcomes.sweep(ward.now)
    assert member.is_suspended()
    ward.now += 0.3
    worker.outcomes.sweep(ward.now)
    assert not member.is_suspended()


class Moment(float):
    """A time that counts how often it is compared with another one."""

    compared = 0

    def __add__(self, other: float) -> Moment:
        return Moment(float(self) + other)

    def __eq__(self, other: object) -> bool:
        Moment.compared += 1
        return float(self) == other

    def __le__(self, other: float) -> bool:
        Moment.compared += 1
        return float(self) <= other

    __hash__ = float.__hash__


def test_a_sweep_looks_once_at_each_suspended_backend() -> None:
    ward = Ward(*[1] * 30, breaker=Breaker(threshold=1))
    worker = Worker(ward, 1)
    ward.now = Moment(ward.now)
    for place in range(30):
        assert worker.ask(place, "failure")
        ward.now = Moment(ward.now + 0.001)
    before = Moment.compared
    worker.outcomes.sweep(ward.now + 1.0)
    assert not any(member.is_suspended() for member in worker.location.members)
    assert Moment.compared - before == 30


MOVES = st.tuples(
    st.integers(0, 1),  # worker
    st.integers(0, 3),  # backend
    st.sampled_from(["good", "good", "failure", "connect", "bad", "down", "up", "later"]),
)


FEW_IN_THE_WINDOW = (
    (0, 0, "good"),
    (1, 0, "failure"),
    *[(0, 0, "good")] * 3,
    (0, 0, "later"),
    (0, 0, "bad"),  # the master's window begins here, which the other worker does not know
    *[(0, 0, "later")] * 3,
    *[(1, 0, "failure")] * 2,
    (1, 0, "bad"),
)


@settings(max_examples=300, deadline=None)
@example(moves=list(FEW_IN_THE_WINDOW), share=0.5, threshold=0.0, weights=[1, 1])
@given(
    moves=st.lists(MOVES, min_size=20, max_size=120),
    share=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    threshold=st.sampled_from([0.0, 0.5, 0.8]),
    weights=st.lists(st.sampled_from([0, 1, 1, 2]), min_size=2, max_size=4),
)
def test_a_worker_never_suspends_what_the_master_does_not_eject(
    moves: list[tuple[int, int, str]], share: float, threshold: float, weights: list[int]
) -> None:
    rules = Outlier(
        failures=3, connect_errors=2, bad_statuses=4, statuses=((503, 503),), ratio=0.5, min_requests=8, max_ejected=share
    )
    ward = Ward(*weights, outlier=rules, panic_threshold=threshold)
    ward.log.strict = True
    workers = [Worker(ward, 1), Worker(ward, 2)]
    for which, place, kind in moves:
        place %= len(weights)
        worker = workers[which]
        if kind == "later":
            ward.pass_(4.0)
            for one in workers:
                one.outcomes.sweep(ward.now)
        elif kind in ("down", "up"):
            ward.states.probed(ward.id(place), kind == "up", ward.wall(), "status")
        else:
            member = worker.location.members[place]
            before = member.is_suspended()
            worker.ask(place, kind)
            suspended = member.is_suspended() and not before
            worker.deliver()
            if suspended:
                event("suspended")
                assert member.state() == BackendCells.EJECTED
                assert not worker.view.q[worker.location.panic_at]
