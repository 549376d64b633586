"""Burn rates and error budgets, against figures that were computed by hand."""

from __future__ import annotations

from math import inf

import pytest

from terraster.config import quantities
from terraster.config.slo import Objective, Slo
from terraster.policy.burn import FEWEST, PAIRS, WINDOWS, assess, server_errors, slower
from terraster.policy.series import Series

MINUTE, HOUR, DAY = 60, 3600, 86400
NOW = 1_795_003_200 - 1_795_003_200 % DAY + 12 * HOUR
MONTH = 30.0 * DAY
NINES = Objective(99.9)


def traffic(*spans: tuple[int, float, float]) -> Series:
    """A series up to `NOW`. spans: how long, requests a minute, bad ones a minute; one after the other, the last ends now"""
    series = Series()
    when = NOW - sum(span[0] for span in spans)
    for seconds, total, bad in spans:
        for _ in range(seconds // MINUTE):
            series.add(when, total, bad)
            when += MINUTE
    return series


def test_the_pairs_are_those_of_the_workbook() -> None:
    assert [(pair.long // HOUR, pair.short // MINUTE, pair.factor, pair.severity) for pair in PAIRS] == [
        (1, 5, 14.4, "page"),
        (6, 30, 6.0, "page"),
        (24, 120, 3.0, "ticket"),
        (72, 360, 1.0, "ticket"),
    ]
    assert list(WINDOWS) == sorted({seconds for pair in PAIRS for seconds in (pair.short, pair.long)})
    assert [quantities.duration(name) for name in WINDOWS.values()] == list(WINDOWS)


def test_an_objective_that_is_met_burns_nothing() -> None:
    one = assess(traffic((DAY, 1000, 0)), NINES, MONTH, NOW)
    assert (one.requests, one.bad, one.left, one.burning, one.gone_in) == (1_440_000, 0, 1.0, None, inf)
    assert set(one.rates.values()) == {0.0} and one.since == NOW - DAY


def test_nothing_was_counted_yet() -> None:
    one = assess(Series(), NINES, MONTH, NOW)
    assert (one.requests, one.left, one.burning, one.since) == (0, 1.0, None, 0.0)


def test_a_rate_of_one_spends_the_budget_within_the_window() -> None:
    one = assess(traffic((2 * DAY, 1000, 1)), NINES, 2.0 * DAY, NOW)
    assert one.rates[HOUR] == pytest.approx(1.0) and one.left == pytest.approx(0.0)


def test_an_outage_burns_fast() -> None:
    """99.9 % allow 1 of 1,000. In the last hour 20 of 1,000 were bad: 20 times too many. Of the day's 1,440,000 requests 1,440 may be bad, and
    60 minutes of 20 were: 1 - 1,200 / 1,440 = 1/6 is left, which lasts 30 days / 6 / 20 = 6 hours."""
    one = assess(traffic((23 * HOUR, 1000, 0), (HOUR, 1000, 20)), NINES, MONTH, NOW)
    assert one.rates[300] == pytest.approx(20) and one.rates[HOUR] == pytest.approx(20)
    assert one.rates[6 * HOUR] == pytest.approx(20 / 6) and one.rates[DAY] == pytest.approx(20 / 24)
    assert one.left == pytest.approx(1 / 6)
    assert one.burning == PAIRS[0] and one.gone_in == pytest.approx(6 * HOUR)


@pytest.mark.parametrize(
    ("spans", "pair"),
    [
        (((HOUR, 1000, 14.4),), PAIRS[0]),
        (((HOUR, 1000, 14.3),), PAIRS[1]),  # for six hours there was nothing else
        (((DAY, 1000, 0), (HOUR, 1000, 14.3)), None),
        (((3 * DAY, 1000, 0), (55 * MINUTE, 1000, 30), (5 * MINUTE, 1000, 0)), None),  # it is over
        (((DAY, 1000, 0), (5 * MINUTE, 1000, 100)), None),  # 8.3 in the hour: it does not matter yet
        (((DAY, 1000, 0), (HOUR, 1000, 40), (10 * MINUTE, 1000, 6)), PAIRS[1]),  # over 30 minutes 28, and 7 over six hours
        (((3 * DAY, 1000, 0), (DAY, 1000, 3)), PAIRS[2]),
        (((3 * DAY, 1000, 1),), PAIRS[3]),
        (((3 * DAY, 1000, 0.9),), None),
    ],
)
def test_which_pair_burns(spans: tuple[tuple[int, float, float], ...], pair: object) -> None:
    assert assess(traffic(*spans), NINES, MONTH, NOW).burning == pair


def test_a_few_bad_requests_of_a_quiet_night_are_not_told() -> None:
    few = traffic((HOUR, 1, 0))
    few.add(NOW - MINUTE, 0, FEWEST - 1)
    one = assess(few, NINES, MONTH, NOW)
    assert one.rates[HOUR] > 14.4 and one.rates[300] > 14.4 and one.burning is None
    few.add(NOW - MINUTE, 0, 1)
    assert assess(few, NINES, MONTH, NOW).burning == PAIRS[0]


def test_what_is_told_ends_minutes_after_the_errors() -> None:
    series = traffic((HOUR, 1000, 100))
    assert assess(series, NINES, MONTH, NOW).burning == PAIRS[0]
    for minute in range(5):
        series.add(NOW + minute * MINUTE, 1000, 0)
    assert assess(series, NINES, MONTH, NOW + 5 * MINUTE).burning != PAIRS[0]


def test_windows_longer_than_that_of_the_objective_are_left_out() -> None:
    one = assess(traffic((2 * DAY, 1000, 2)), NINES, 6.0 * HOUR, NOW)
    assert sorted(one.rates) == [300, 1800, 3600, 7200, 21600] and one.burning is None
    assert one.requests == 360_000 and one.left == pytest.approx(-1.0) and one.since == NOW - 6 * HOUR


def test_an_overspent_budget_is_below_zero_and_gone_now() -> None:
    one = assess(traffic((HOUR, 100, 50)), NINES, MONTH, NOW)
    assert one.left == pytest.approx(-499) and one.gone_in == 0


def test_a_latency_objective_allows_more() -> None:
    one = assess(traffic((HOUR, 100, 72)), Objective(95, 0.3), MONTH, NOW)
    assert one.rates[HOUR] == pytest.approx(14.4) and one.burning == PAIRS[0]


def test_objectives_of_a_location() -> None:
    slo = Slo(99.95, ((95.0, 0.3), (99.0, 1.5)))
    assert [one.words for one in slo.objectives] == ["availability 99.95 %", "latency 95 % in 300ms", "latency 99 % in 1.5s"]
    assert [one.name for one in slo.objectives] == ["availability", "latency-95", "latency-99"]
    assert [one.allowed for one in slo.objectives] == [0.0005, 0.05, 0.01]
    assert Objective(90, 0.3).counts == Objective(95, 0.3).counts != Objective(95, 0.4).counts


@pytest.mark.parametrize(
    ("requests", "errors", "calls", "failed_calls", "bad"),
    [
        (100, 3, 0, 0, 3),
        (100, 0, 100, 7, 7),
        (100, 5, 100, 7, 7),  # five of the seven were answered with an HTTP status of 5xx
        (100, 3, 40, 7, 10),
    ],
)
def test_server_errors(requests: int, errors: int, calls: int, failed_calls: int, bad: int) -> None:
    assert server_errors(requests, errors, calls, failed_calls) == bad


@pytest.mark.parametrize(
    ("counts", "seconds", "slow"),
    [
        ((5, 10, 20, 40), 0.01, 70),
        ((5, 10, 20, 40), 0.1, 60),
        ((5, 10, 20, 40), 1.0, 40),
        ((5, 10, 20, 40), 0.55, 50),  # half of the bucket from 0.1 to 1
        ((5, 10, 20, 40), 0.005, 72.5),
        ((0, 0, 0, 0), 0.3, 0),
    ],
)
def test_slower(counts: tuple[int, ...], seconds: float, slow: float) -> None:
    assert slower((0.01, 0.1, 1.0), counts, seconds) == pytest.approx(slow)
