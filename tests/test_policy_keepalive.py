"""After how long a backend closes idle connections, learnt from when it did."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.policy.keepalive import KeepAlive


def learnt(*closes: tuple[float, float]) -> KeepAlive:
    """After connections were closed at (age, now)."""
    keepalive = KeepAlive()
    for age, now in closes:
        keepalive.closed(age, now)
    return keepalive


@pytest.mark.parametrize(
    ("closes", "seconds"),
    [
        ((), 0.0),
        (((1.0, 1), (1.0, 3)), 0.0),  # twice is chance
        (((1.0, 1), (1.0, 3), (1.0, 5)), 1.0),
        (((1.1, 1), (1.0, 3), (1.2, 5)), 1.0),  # the server looks at its clock now and then
        (((1.0, 1), (1.0, 3), (1.3, 5)), 0.0),
        (((9.0, 1), (1.0, 3), (1.0, 5), (1.0, 7)), 1.0),  # the last three count
        (((1.0, 1), (1.0, 3), (1.0, 5), (5.0, 9)), 1.0),  # one more does not unlearn
        (((1.0, 1), (1.0, 3), (1.0, 5), (3.0, 9), (3.0, 13), (3.0, 17)), 3.0),
        (((60.0, 100), (60.0, 200), (61.0, 300)), 60.0),
        (((0.01, 1), (0.01, 3), (0.01, 5)), 0.0),  # closes behind each answer: keeps none
    ],
)
def test_table(closes: tuple[tuple[float, float], ...], seconds: float) -> None:
    assert learnt(*closes).seconds == seconds


def test_closes_at_one_moment_are_one_event() -> None:
    """A restart closes all connections, whatever their ages; many of them are alike."""
    restart = [(age, 100 + number * 0.01) for number, age in enumerate([3.0, 3.0, 3.1, 3.0, 2.9, 3.0])]
    assert learnt(*restart).seconds == 0.0


def test_a_restart_does_not_unteach() -> None:
    known = learnt((1.0, 1), (1.0, 3), (1.0, 5))
    for number in range(20):
        known.closed(0.3 + number / 100, 6 + number / 1000)
    assert known.seconds == 1.0


@pytest.mark.parametrize(("seconds", "usable"), [(0.1, 0.05), (0.5, 0.4), (1.0, 0.9), (5.0, 4.5), (60.0, 54.0)])
def test_what_is_about_to_close_is_not_used(seconds: float, usable: float) -> None:
    """A tenth of it, and at least a tenth of a second, is kept clear; never more than half."""
    known = learnt((seconds, 100), (seconds, 200), (seconds, 300))
    assert known.usable == pytest.approx(usable)


def test_while_nothing_is_known_everything_is_used() -> None:
    assert KeepAlive().usable == math.inf


@pytest.mark.parametrize(("age", "still"), [(1.0, True), (1.4, True), (1.5, False), (60.0, False)])
def test_a_connection_that_lives_on_proves_it_wrong(age: float, still: bool) -> None:
    known = learnt((1.0, 1), (1.0, 3), (1.0, 5))
    known.survived(age)
    assert (known.seconds > 0) is still
    assert (known.usable < math.inf) is still


def test_it_can_be_learnt_again() -> None:
    known = learnt((1.0, 1), (1.0, 3), (1.0, 5))
    known.survived(10.0)
    known.closed(5.0, 20)
    known.closed(5.0, 30)
    assert known.seconds == 0.0
    known.closed(5.0, 40)
    assert known.seconds == 5.0


@given(
    st.lists(st.one_of(st.tuples(st.floats(0, 100), st.floats(0, 5)), st.floats(0, 200)), max_size=40),
)
def test_never_nonsense(events: list[tuple[float, float] | float]) -> None:
    """Whatever happens: what may be used is a positive age below the timeout, and the timeout was seen."""
    known, now, ages = KeepAlive(), 0.0, {0.0}
    for event in events:
        if isinstance(event, tuple):
            now += event[1]
            known.closed(event[0], now)
            ages.add(event[0])
        else:
            known.survived(event)
        assert known.seconds in ages
        if known.seconds:
            assert 0 < known.usable < known.seconds
        else:
            assert known.usable == math.inf
