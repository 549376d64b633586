"""When a certificate is a worry."""

from __future__ import annotations

import pytest

from terraster.policy.expiry import margin, state

DAY = 86400.0


@pytest.mark.parametrize(
    ("lifetime", "threshold", "expected"),
    [(365, 30, 30), (90, 30, 30), (60, 30, 20), (6, 30, 2), (90, 0, 0), (0, 30, 0), (-1, 30, 0)],
)
def test_a_threshold_is_at_most_a_third_of_the_lifetime(lifetime: float, threshold: float, expected: float) -> None:
    assert margin(0.0, lifetime * DAY, threshold * DAY) == pytest.approx(expected * DAY)


@pytest.mark.parametrize(
    ("day", "expected"),
    [(-1, "not-yet-valid"), (0, "valid"), (59.9, "valid"), (60, "expiring"), (89.9, "expiring"), (90, "expired"), (400, "expired")],
)
def test_the_states_of_ninety_days(day: float, expected: str) -> None:
    assert state(0.0, 90 * DAY, 30 * DAY, day * DAY) == expected
