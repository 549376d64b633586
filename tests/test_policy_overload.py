"""Overload: which share of requests a worker refuses."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.policy.overload import MOST, Gate, Gates, LagGate, LeastLag, MemoryGate


@pytest.mark.parametrize(
    ("lags", "expected"),
    [
        ([0.01, 0.05, 0.0], 0.0),
        ([0.0625], 0.2),  # four fifths of the requests would make it 50 ms
        ([0.1], 0.5),
        ([9.0], 0.5),  # an interval changes it by half at most
        ([9.0, 9.0], 0.75),
        ([9.0] * 50, MOST),
        ([0.1, 0.05], 0.5),  # the lag is what it may be
        ([0.1, 0.04], 0.375),
        ([0.1, 0.001], 0.25),
        ([0.1, 0.001, 0.001], 0.0),
        ([9.0] * 50 + [0.001] * 8, 0.0),  # 4 s from the most to nothing
    ],
)
def test_the_share_follows_the_lag(lags: list[float], expected: float) -> None:
    gate = LagGate(0.05)
    for lag in lags:
        gate.judge(lag)
    assert gate.share == pytest.approx(expected)


@pytest.mark.parametrize(("mib", "expected"), [(0, 0.0), (90, 0.0), (95, 0.5), (98, 0.8), (100, MOST), (500, MOST)])
def test_the_share_follows_the_memory(mib: int, expected: float) -> None:
    gate = MemoryGate(100 << 20)
    gate.judge(500 << 20)
    gate.judge(mib << 20)
    assert gate.share == pytest.approx(expected)


@given(st.floats(0.0, MOST), st.integers(1, 5), st.integers(0, 4))
def test_the_share_is_spread_evenly_over_clients_that_take_turns(share: float, clients: int, mine: int) -> None:
    gate = Gate()
    gate.share = share
    refused = [gate.refuses() for _ in range(1000 * clients)][mine % clients :: clients]
    assert abs(sum(refused) - 1000 * share) <= 20


@pytest.mark.parametrize(
    ("lags", "expected"),
    [
        ([(0.0, 0.03), (0.1, 0.02), (0.2, 0.05)], []),
        ([(0.0, 0.03), (0.1, 0.02), (0.2, 0.05), (0.5, 0.04)], [0.02]),
        ([(0.0, 0.03), (0.1, 0.02), (0.2, 0.05), (0.5, 0.04), (0.6, 0.09), (0.8, 0.07), (1.1, 0.08)], [0.02, 0.07]),
        ([(0.0, 0.001), (2.0, 2.0), (2.1, 0.001)], [0.001]),  # one long turn
        ([(0.0, 2.0), (2.0, 2.0)], []),
        ([(0.0, 2.0), (2.0, 2.0), (4.0, 2.0)], [2.0]),
    ],
)
def test_what_counts_is_the_least_lag_of_an_interval(lags: list[tuple[float, float]], expected: list[float]) -> None:
    least = LeastLag()
    assert [found for now, lag in lags if (found := least.add(lag, now)) is not None] == expected


def test_gates_are_shared_by_those_with_the_same_limit_and_forgotten_after_the_last() -> None:
    gates = Gates()
    one, other, memory = gates.lag(0.05), gates.lag(0.1), gates.memory(1 << 30)
    assert gates.lag(0.05) is one
    assert gates.memory(1 << 30) is memory
    assert set(gates.by_lag) == {0.05, 0.1}
    del one, memory
    gc.collect()
    assert list(gates.by_lag.values()) == [other]
    assert not gates.by_memory
