"""When certificates are ordered: tables of what is known, the clock, and the moment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.policy.renewal import DAY, ORDERS_PER_DAY, Known, free_at, next_order, recent, renewal_time, retry_delay

NAMES = ("a.test", "b.test")
HELD = Known(names=NAMES, not_before=0.0, not_after=90 * DAY)


@pytest.mark.parametrize(
    ("known", "renew_before", "expected"),
    [
        (HELD, 0.0, 60 * DAY),
        (replace(HELD, suggested=50 * DAY), 0.0, 50 * DAY),
        (replace(HELD, suggested=100 * DAY), 0.0, 90 * DAY),
        (replace(HELD, suggested=50 * DAY), 10 * DAY, 80 * DAY),
        (HELD, 80 * DAY, 30 * DAY),  # a time that is too long for this lifetime must not mean: renew for ever
        (replace(HELD, not_after=60.0), 0.0, 40.0),
        (replace(HELD, not_after=6 * DAY), 30 * DAY, 2 * DAY),
    ],
)
def test_renewal_time(known: Known, renew_before: float, expected: float) -> None:
    assert renewal_time(known, renew_before) == pytest.approx(expected)


def test_chance_spreads_renewals_around_two_thirds() -> None:
    early, late = (renewal_time(replace(HELD, chance=chance), 0.0) for chance in (0.0, 1.0))
    assert 55 * DAY < early < 60 * DAY < late < 65 * DAY


def test_delays_grow_and_have_an_end() -> None:
    assert [retry_delay(count, 0.5) for count in (1, 2, 3, 4, 5, 6, 1000)] == [60, 240, 960, 3840, 15360, 21600, 21600]
    assert retry_delay(1, 0.0) == pytest.approx(54) and retry_delay(1, 1.0) == pytest.approx(66)


def test_an_hour_of_failures_has_at_most_four_orders() -> None:
    at, orders = 0.0, []
    for failures in range(1, 10):
        orders.append(at)
        at += retry_delay(failures, 0.0)
    assert sum(one < 3600 for one in orders) == 4


@pytest.mark.parametrize(
    ("known", "wanted", "orders", "expected"),
    [
        (Known(), NAMES, [[], []], 1000.0),
        (HELD, NAMES, [[], []], 60 * DAY),
        (HELD, ("b.test", "a.test"), [[], []], 60 * DAY),
        (HELD, (*NAMES, "c.test"), [[], [], []], 1000.0),  # another set of names is another certificate
        (HELD, ("a.test",), [[]], 1000.0),
        (Known(failures=1, failed_at=990.0), NAMES, [[], []], 1050.0),
        (Known(failures=3, failed_at=990.0), NAMES, [[], []], 1950.0),
        (Known(failures=1, failed_at=900.0), NAMES, [[], []], 1000.0),
        (Known(failures=1, failed_at=990.0, wait_until=5000.0), NAMES, [[], []], 5000.0),
        (Known(), NAMES, [[500.0] * ORDERS_PER_DAY, []], 500.0 + DAY),
        (Known(), NAMES, [[500.0] * (ORDERS_PER_DAY - 1), []], 1000.0),
        (Known(), NAMES, [[], [-DAY] * ORDERS_PER_DAY], 1000.0),
    ],
)
def test_next_order(known: Known, wanted: tuple[str, ...], orders: list[list[float]], expected: float) -> None:
    assert next_order(known, wanted, 0.0, orders, 1000.0) == pytest.approx(expected)


def test_orders_of_a_clock_that_was_ahead_do_not_lock_a_name_for_years() -> None:
    ahead = [1e12] * ORDERS_PER_DAY
    assert free_at(ahead, 1000.0) == 1000.0 + DAY
    assert recent(ahead, 1000.0) == [1000.0] * ORDERS_PER_DAY


@given(st.lists(st.floats(0, 5 * DAY), max_size=60))
def test_no_day_ever_has_more_orders_than_allowed(wishes: list[float]) -> None:
    """Orders are wished at any moments, and each is made as soon as it may be."""
    made: list[float] = []
    now = 0.0
    for wish in sorted(wishes):
        now = max(now, wish)
        now = max(now, next_order(Known(), ("a.test",), 0.0, [made], now))
        made.append(now)
    for index in range(len(made) - ORDERS_PER_DAY):
        assert made[index + ORDERS_PER_DAY] - made[index] >= DAY * 0.999999
