"""When a certificate is a worry."""

from __future__ import annotations

import pytest

from terraster.policy.expiry import margin, next_stage, span, stage, state

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


@pytest.mark.parametrize(
    ("lifetime", "left", "expected", "following"),
    [
        (365, 31, None, 1),
        (365, 30, 30, 16),
        (365, 14.5, 30, 0.5),
        (365, 14, 14, 7),
        (365, 5, 7, 4),
        (365, 1, 1, 1),
        (365, 0, 0, None),
        (365, -9, 0, None),
        (90, 29, None, 2),
        (90, 27, 27, 13),
        (30, 8, 9, 1),
        (30, 12, None, 3),
        (1, 0.4, None, 0.1),
        (1, 0.2, 0.3, 0.2),
        (0, 5, None, 5),
    ],
)
def test_the_stages_at_which_operators_are_told(
    lifetime: float, left: float, expected: float | None, following: float | None
) -> None:
    now = (lifetime - left) * DAY
    reached, wait = (one(0.0, lifetime * DAY, 30 * DAY, now) for one in (stage, next_stage))
    assert reached == (None if expected is None else pytest.approx(expected * DAY))
    assert wait == (None if following is None else pytest.approx(following * DAY))


@pytest.mark.parametrize(
    ("seconds", "words"), [(-5, "0 seconds"), (119, "119 seconds"), (120, "2 minutes"), (90000, "25 hours"), (9 * DAY, "9 days")]
)
def test_a_span_in_words(seconds: float, words: str) -> None:
    assert span(seconds) == words
