"""Which worker accepts the next connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.policy.accept import SLACK, share


@pytest.mark.parametrize(
    ("mine", "total", "workers", "yes"),
    [
        (10_000, 10_000, 1, True),
        (0, 0, 2, True),
        (SLACK - 1, SLACK - 1, 4, True),  # few: whoever comes first
        (100, 200, 2, True),
        (111, 200, 2, True),
        (112, 200, 2, False),
        (0, 200, 2, True),
        (60, 200, 4, False),
        (1124, 2000, 2, True),
        (1125, 2000, 2, False),
        (5, 5, 0, True),
    ],
)
def test_table(mine: int, total: int, workers: int, yes: bool) -> None:
    assert (share(mine, total, workers) > 0) is yes


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=16))
def test_somebody_always_may(counts: list[int]) -> None:
    assert share(min(counts), sum(counts), len(counts)) > 0


@pytest.mark.parametrize(("workers", "connections"), [(2, 200), (4, 400), (3, 1000)])
def test_however_greedy_one_is(workers: int, connections: int) -> None:
    """The first worker is always the quickest: it takes whatever it may."""
    counts = [0] * workers
    for _ in range(connections):
        counts[next(at for at in range(workers) if share(counts[at], sum(counts), workers) > 0)] += 1
    assert max(counts) <= 1.2 * connections / workers
    assert max(counts) / connections <= 0.6
