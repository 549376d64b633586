"""In a row: what may be counted together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.policy.streak import BEFORE, FIRST, NEXT, Streak


@pytest.mark.parametrize(
    ("looks", "places"),
    [
        # (good ones counted, moment of the report, moment of the look)
        pytest.param([(0, 1, 1), (0, 2, 2)], [NEXT, NEXT], id="nothing good ever"),
        pytest.param([(5, 1, 1), (5, 2, 2)], [FIRST, NEXT], id="good ones before"),
        pytest.param([(5, 1, 1), (6, 2, 2), (6, 3, 3)], [FIRST, FIRST, NEXT], id="a good one in between"),
        pytest.param(
            [(5, 1, 2), (5, 1.5, 2), (5, 1.9, 2.1), (5, 2.2, 2.3)], [FIRST, BEFORE, BEFORE, NEXT], id="a batch among good ones"
        ),
        pytest.param(
            [(5, 1, 1), (3, 2, 2), (5, 3, 3), (6, 4, 4)], [FIRST, NEXT, NEXT, FIRST], id="heads that were no good after all"
        ),
    ],
)
def test_places(looks: list[tuple[int, float, float]], places: list[str]) -> None:
    streak = Streak()
    assert [streak.place(*look) for look in looks] == places


def test_after_a_restart_what_is_older_is_not_counted() -> None:
    streak = Streak()
    streak.restart(7, 10.0)
    assert [streak.place(7, when, 12.0) for when in (9.0, 10.0, 11.0)] == [BEFORE, BEFORE, NEXT]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=60))
def test_no_row_is_counted_more_than_one_longer_than_it_was(attempts: list[tuple[bool, int]]) -> None:
    """Attempts in their order; how long each report of a bad one takes to be looked at, in attempts."""
    looks: list[tuple[float, float]] = []  # (moment of the look, moment of the report)
    for moment, (good, delay) in enumerate(attempts):
        if not good:
            looks.append((moment + delay, float(moment)))
    streak, counted = Streak(), 0
    longest = at = 0
    for good, _delay in attempts:
        at = 0 if good else at + 1
        longest = max(longest, at)
    for look, when in sorted(looks):
        known = sum(good for good, _delay in attempts[: int(look) + 1])
        place = streak.place(known, when, look)
        counted = 1 if place == FIRST else counted + (place == NEXT)
        assert counted <= longest + 1
