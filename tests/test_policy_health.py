"""Rise and fall."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.policy.health import Verdict, first, observe


@pytest.mark.parametrize(
    ("probes", "states"),
    [
        # healthy: 2, unhealthy: 3; "+" a probe that succeeds, U up, D down
        ("+", "U"),
        ("-", "D"),
        ("+-", "UU"),
        ("+--", "UUU"),
        ("+---", "UUUD"),
        ("+--+--", "UUUUUU"),
        ("+--+---", "UUUUUUD"),
        ("-+", "DD"),
        ("-++", "DDU"),
        ("-+-++", "DDDDU"),
        ("+---++---", "UUUDDUUUD"),
    ],
)
def test_series(probes: str, states: str) -> None:
    state = first(probes[0] == "+")
    seen = [state]
    for probe in probes[1:]:
        seen.append(state := observe(state, probe == "+", 2, 3))
    assert "".join("U" if each.up else "D" for each in seen) == states


def test_nothing_new_makes_no_new_state() -> None:
    state = first(True)
    assert observe(state, True, 2, 2) is state


@given(st.lists(st.booleans(), min_size=1), st.integers(1, 5), st.integers(1, 5))
def test_flips_exactly_when_a_row_is_long_enough(probes: list[bool], healthy: int, unhealthy: int) -> None:
    state = first(probes[0])
    row = 0
    for ok in probes[1:]:
        row = row + 1 if ok != state.up else 0
        due = row >= (healthy if ok else unhealthy)
        before, state = state, observe(state, ok, healthy, unhealthy)
        assert (state.up != before.up) == due
        if due:
            row = 0
            assert state == Verdict(ok)


@given(st.booleans(), st.integers(2, 5), st.integers(1, 50))
def test_flapping_below_the_threshold_never_flips(up: bool, threshold: int, times: int) -> None:
    state = first(up)
    for _ in range(times):
        for ok in [not up] * (threshold - 1) + [up]:
            state = observe(state, ok, threshold, threshold)
            assert state.up == up
