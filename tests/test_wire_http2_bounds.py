"""How often a peer of HTTP/2 may do something: bursts, and the long run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.wire.http2.bounds import BOUNDS, Bound, Bounds
from terraster.wire.http2.frames import ENHANCE_YOUR_CALM, ConnectionFault
from terraster.wire.http2.limits import Limits


def allowed(bound: Bound, now: float, most: int = 10_000) -> int:
    """How many times it may happen at once."""
    for count in range(most):
        try:
            bound.count(now)
        except ConnectionFault as fault:
            assert fault.code == ENHANCE_YOUR_CALM
            assert fault.bound == bound.name
            assert fault.text == f"too many {BOUNDS[bound.name][2]}"
            return count
    raise AssertionError("no bound")


def test_a_burst() -> None:
    assert allowed(Bound("pings", 10, 50), 1000.0) == 50


def test_the_long_run() -> None:
    bound = Bound("pings", 10, 50)
    for step in range(100_000):  # some 3 hours
        bound.count(1000.0 + step * 0.1)
    assert allowed(bound, 1000.0 + 100_000 * 0.1) >= 49


def test_above_the_rate() -> None:
    bound, count = Bound("pings", 10, 50), 0
    with pytest.raises(ConnectionFault):
        for count in range(1000):
            bound.count(1000.0 + count * 0.05)
    assert 90 <= count <= 110


def test_a_pause_leaks_everything_and_nothing_is_saved() -> None:
    bound = Bound("pings", 10, 50)
    assert allowed(bound, 1000.0) == 50
    assert allowed(bound, 5000.0) == 50
    assert allowed(bound, 5001.0) == 9  # the one that was too many counted, too


def test_what_is_made_good() -> None:
    bound = Bound("resets", 0, 10)
    for _ in range(1000):
        bound.count(1000.0)
        bound.forgive()
    bound.forgive()  # nothing to make good
    assert allowed(bound, 1000.0) == 10


def test_each_has_a_name() -> None:
    limits = Limits(resets_per_second=7)
    bounds = Bounds(limits)
    assert not bounds
    for name, (rate, most, what) in BOUNDS.items():
        assert what
        bound = bounds[name]
        assert bounds[name] is bound
        assert (bound.rate, bound.most) == ((7, 21) if name == "resets" else (rate, most))


@given(st.lists(st.floats(0, 1), max_size=300))
def test_never_more_than_burst_and_rate(pauses: list[float]) -> None:
    bound, now = Bound("pings", 5, 20), 1000.0
    for count, pause in enumerate(pauses):
        now += pause
        try:
            bound.count(now)
        except ConnectionFault:
            assert count >= 20
            return
        assert count < 20 + 5 * (now - 1000.0) + 1
