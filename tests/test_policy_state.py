"""What facts come to: states and whether new work may be sent there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.policy.breaker import CLOSED, HALF_OPEN, OPEN
from terraster.policy.state import FLOOR, WHOLE, Facts, Order, evaluate, may_eject, panics, ramp
from terraster.state.cells import BackendCells

DRAIN, MAINTENANCE = Order("drain", 0.0, "a new disk", "ann"), Order("maintenance", 0.0, "a new kernel", "bob")
UP: dict[str, Any] = {"up": True, "reason": "status 200"}


@pytest.mark.parametrize(
    ("facts", "state", "admit", "why"),
    [
        ({}, "down", BackendCells.NONE, "no result yet"),
        (UP, "up", BackendCells.ALL, "status 200"),
        ({**UP, "ramping": True}, "up", BackendCells.RAMPING, "status 200"),
        ({"up": False, "reason": "connection refused"}, "down", BackendCells.NONE, "connection refused"),
        ({**UP, "unresolved": "no such name"}, "down", BackendCells.NONE, "no such name"),
        ({**UP, "order": DRAIN}, "draining", BackendCells.NONE, "a new disk"),
        ({**UP, "order": MAINTENANCE}, "maintenance", BackendCells.NONE, "a new kernel"),
        ({**UP, "ejected": "5 failed"}, "ejected", BackendCells.NONE, "5 failed"),
        ({**UP, "circuit": OPEN, "broken": "open"}, "ejected", BackendCells.NONE, "open"),
        ({**UP, "circuit": HALF_OPEN, "broken": "half-open"}, "ejected", BackendCells.TRIAL, "half-open"),
        ({**UP, "circuit": HALF_OPEN, "order": DRAIN}, "ejected", BackendCells.NONE, ""),
        # precedence
        (
            {"order": MAINTENANCE, "unresolved": "no such name", "ejected": "5 failed"},
            "maintenance",
            BackendCells.NONE,
            "a new kernel",
        ),
        ({"up": False, "reason": "refused", "ejected": "5 failed", "order": DRAIN}, "down", BackendCells.NONE, "refused"),
        ({**UP, "ejected": "5 failed", "circuit": HALF_OPEN, "order": DRAIN}, "ejected", BackendCells.NONE, "5 failed"),
        ({**UP, "order": DRAIN, "ramping": True}, "draining", BackendCells.NONE, "a new disk"),
    ],
)
def test_standings(facts: dict[str, Any], state: str, admit: int, why: str) -> None:
    evaluation = evaluate(Facts(**facts))
    assert (BackendCells.STATES[evaluation.state], evaluation.admit, evaluation.why) == (state, admit, why)
    assert evaluation.by == {"draining": "ann", "maintenance": "bob"}.get(state, "")


@given(
    st.builds(
        Facts,
        up=st.sampled_from([None, False, True]),
        unresolved=st.sampled_from(["", "no such name"]),
        order=st.sampled_from([None, DRAIN, MAINTENANCE]),
        ejected=st.sampled_from(["", "5 failed"]),
        circuit=st.sampled_from([CLOSED, OPEN, HALF_OPEN]),
        ramping=st.booleans(),
    )
)
def test_new_work_goes_only_to_what_is_up_or_tried(facts: Facts) -> None:
    evaluation = evaluate(facts)
    well = bool(facts.up) and not facts.unresolved and facts.order is None and not facts.ejected
    assert (
        (evaluation.admit in (BackendCells.ALL, BackendCells.RAMPING))
        == (evaluation.state == BackendCells.UP)
        == (well and facts.circuit == CLOSED)
    )
    assert (evaluation.admit == BackendCells.TRIAL) == (well and facts.circuit == HALF_OPEN)


@pytest.mark.parametrize(
    ("up", "considered", "threshold", "panic"),
    [(0, 0, 0.5, False), (0, 4, 0.0, False), (1, 4, 0.5, True), (2, 4, 0.5, False), (0, 1, 0.1, True), (4, 4, 1.0, False)],
)
def test_panic(up: int, considered: int, threshold: float, panic: bool) -> None:
    assert panics(up, considered, threshold) == panic


@pytest.mark.parametrize(
    ("ejected", "all_", "share", "others", "may"),
    [
        (0, 1, 0.5, 0, False),
        (0, 2, 0.5, 1, True),
        (1, 2, 0.5, 1, False),
        (0, 3, 0.5, 2, True),
        (1, 3, 0.5, 1, False),
        (0, 10, 0.1, 9, True),
        (2, 10, 0.3, 7, True),  # 0.3 * 10 is 3 to a floating-point unit only by luck
        (3, 10, 0.3, 6, False),
        (0, 2, 0.5, 0, False),  # the other one is down
        (0, 1, 1.0, 0, True),
        (0, 4, 0.0, 3, False),
    ],
)
def test_how_many_may_be_ejected(ejected: int, all_: int, share: float, others: int, may: bool) -> None:
    assert (may_eject(ejected, all_, share, others) == "") == may


@given(st.integers(1, 1000), st.floats(0, 1))
def test_counted_after_the_ejection_the_share_is_never_exceeded(all_: int, share: float) -> None:
    ejected = 0
    while ejected < all_ and not may_eject(ejected, all_, share, all_):
        ejected += 1
    assert ejected <= share * all_ + 1e-6


@given(st.floats(-1, 100), st.floats(0.001, 60))
def test_a_ramp_goes_up_from_the_floor_to_all(elapsed: float, slow_start: float) -> None:
    value = ramp(elapsed, slow_start)
    assert FLOOR <= value <= WHOLE
    assert (value == WHOLE) or elapsed < slow_start
    assert value <= ramp(elapsed + 1, slow_start)


def test_half_way_a_ramp_gives_half() -> None:
    assert [ramp(seconds, 10.0) for seconds in (0.0, 1.0, 5.0, 10.0)] == [FLOOR, 100, 500, WHOLE]
