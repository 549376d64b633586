"""A percentile of latencies from a histogram that forgets."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.policy.quantile import Latencies


def known(seconds: list[float]) -> Latencies:
    latencies = Latencies()
    for one in seconds:
        latencies.add(one)
    return latencies


def exact(seconds: list[float], share: float) -> float:
    return sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]


@pytest.mark.parametrize(("count", "says"), [(0, False), (99, False), (100, True)])
def test_nothing_is_said_of_a_few(count: int, says: bool) -> None:
    assert (known([0.01] * count).at(0.95) > 0) is says


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 1e9])
def test_what_is_beyond_the_buckets(seconds: float) -> None:
    assert math.isfinite(known([seconds] * 100).at(0.99))


@given(st.lists(st.floats(0.0001, 100.0), min_size=100, max_size=400), st.floats(0.01, 1.0))
def test_at_most_a_fifth_too_high_and_never_too_low(seconds: list[float], share: float) -> None:
    right = exact(seconds, share)
    assert right * 0.9999 <= known(seconds).at(share) <= right * 1.2001 + 0.0001


@given(st.lists(st.floats(0.0001, 10.0), min_size=100, max_size=200))
def test_higher_percentiles_are_no_lower(seconds: list[float]) -> None:
    latencies = known(seconds)
    found = [latencies.at(share) for share in (0.0, 0.1, 0.5, 0.9, 0.95, 0.99, 1.0)]
    assert found == sorted(found)


def test_the_past_is_forgotten() -> None:
    latencies = known([1.0] * 5000)
    for _ in range(10_000):
        latencies.add(0.001)
    assert latencies.at(0.95) < 0.002


@given(st.lists(st.sampled_from([0.001, 0.01, 0.1, 1.0]), min_size=1, max_size=7).filter(lambda one: len(one) % 2))
def test_the_share_is_right_also_after_it_forgot(pattern: list[float]) -> None:
    """Halving the counts keeps their proportions."""
    latencies = known(pattern * (4321 // len(pattern)))
    assert latencies.at(1.0) >= max(pattern) * 0.9999
    assert latencies.at(0.5) == pytest.approx(exact(pattern * 4, 0.5), rel=0.21)
