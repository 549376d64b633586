"""What retries may cost: a share of the requests, and a few that are free."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.policy.budget import Budget

REMEMBERED = 10.0  # seconds: how long requests and retries count, roughly


@pytest.mark.parametrize(
    ("share", "free", "workers", "requests", "allowed"),
    [
        (0.2, 0.0, 1, 1000, 200),
        (0.2, 0.0, 1, 4, 0),  # a fifth of four is no whole retry
        (0.2, 0.0, 1, 5, 1),
        (0.0, 3.0, 1, 0, 30),
        (0.0, 3.0, 2, 0, 15),  # each worker has its part of the free ones
        (0.0, 3.0, 7, 0, 4),
        (0.2, 3.0, 1, 100, 50),
        (0.0, 0.0, 1, 1000, 0),
        (1.0, 0.0, 1, 10, 10),
    ],
)
def test_how_many_at_once(share: float, free: float, workers: int, requests: int, allowed: int) -> None:
    budget = Budget(share, free, 100.0)
    assert sum(budget.spend(requests, workers, 100.0) for _ in range(2 * allowed + 10)) == allowed


def test_what_is_spent_comes_back_with_time() -> None:
    budget = Budget(0.0, 1.0, 0.0)
    assert [budget.spend(0, 1, 0.0) for _ in range(11)] == [True] * 10 + [False]
    assert not budget.spend(0, 1, 0.5)
    assert budget.spend(0, 1, 2.0)
    assert sum(budget.spend(0, 1, 200.0) for _ in range(20)) >= 9


def test_requests_are_forgotten_too() -> None:
    budget = Budget(0.2, 0.0, 0.0)
    assert budget.spend(1000, 1, 0.0)
    assert not budget.spend(1000, 1, 10 * REMEMBERED), "the thousand were long ago"


def test_a_refund() -> None:
    budget = Budget(1.0, 0.0, 0.0)
    assert budget.spend(1, 1, 0.0) and not budget.spend(1, 1, 0.0)
    budget.refund()
    assert budget.spend(1, 1, 0.0) and not budget.spend(1, 1, 0.0)


def test_a_reload_changes_the_rules_and_forgets_nothing() -> None:
    old = Budget(0.2, 0.0, 0.0)
    assert sum(old.spend(100, 1, 1.0) for _ in range(100)) == 19
    new = Budget(0.4, 0.0, 1.0)
    new.resume_from(old)
    assert sum(new.spend(100, 1, 1.0) for _ in range(100)) == 19
    same = Budget(0.2, 0.0, 1.0)
    same.resume_from(old)
    assert not same.spend(100, 1, 1.0)


def test_a_clock_that_stands_still_or_goes_back() -> None:
    budget = Budget(0.5, 0.0, 10.0)
    assert budget.spend(10, 1, 10.0)
    assert budget.spend(10, 1, 9.0)


@given(
    st.floats(0.0, 1.0),
    st.floats(0.0, 10.0),
    st.integers(1, 4),
    st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 50), st.integers(0, 60)), max_size=60),
)
def test_retries_never_pass_the_share_and_the_free_ones(
    share: float, free: float, workers: int, steps: list[tuple[float, int, int]]
) -> None:
    """However requests, failures and pauses come: over any time the retries of all workers are at most their share of all requests,
    and as many as are free in that time and the ten seconds before it."""
    budget = Budget(share, free, 0.0)
    now, requests, made = 0.0, 0, 0
    for pause, more, wanted in steps:
        now += pause
        requests += more
        made += sum(budget.spend(requests, workers, now) for _ in range(wanted))
        assert made <= share * requests + free * (REMEMBERED + now) / workers + 1e-6


@given(st.floats(0.05, 1.0), st.integers(20, 200))
def test_a_steady_share_is_granted(share: float, rate: int) -> None:
    """Where everything fails, all the time, the whole share is there, not only some of it."""
    budget = Budget(share, 0.0, 0.0)
    made = sum(budget.spend(request, 1, request / rate) for request in range(1, rate * 60))
    assert made == pytest.approx(share * rate * 60, rel=0.1, abs=5)
