"""Outlier detection: when a backend is ejected for what traffic saw, and for how long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.snapshot import Outlier
from terraster.policy.outlier import Record
from terraster.policy.streak import BEFORE, FIRST, NEXT

OFF = Outlier(failures=0, connect_errors=0)


def run(rules: Outlier, story: str) -> list[str]:
    """A story: c connect error, f failure, b bad status, s another status that the worker found worth a report; + a good response
    before the next. Why it would be ejected, after each report."""
    record, verdicts, fresh, attempts = Record(), [], False, 0
    for moment, letter in enumerate(story):
        attempts += 1
        if letter == "+":
            fresh = True
            continue
        kind, status = {"c": ("connect", 0), "f": ("failure", 0), "b": ("status", 503), "s": ("status", 500)}[letter]
        verdicts.append(record.report(rules, FIRST if fresh else NEXT, kind, status, attempts, float(moment)))
        fresh = False
    return verdicts


@pytest.mark.parametrize(
    ("rules", "story", "why"),
    [
        (Outlier(), "fffff", "5 attempts in a row failed"),
        (Outlier(), "ffff", ""),
        (Outlier(), "ffff+f", ""),
        (Outlier(), "ccc", "3 attempts in a row made no connection"),
        (Outlier(), "cc", ""),
        (Outlier(), "cc+c", ""),
        (Outlier(), "ccfcc", "5 attempts in a row failed"),  # counted apart, but a connect error is a failure
        (Outlier(connect_errors=0), "cccc", ""),
        (Outlier(connect_errors=0), "ccccc", "5 attempts in a row failed"),
        (Outlier(failures=0), "ffffffff", ""),
        (Outlier(), "bbbbbbbb", ""),
        (Outlier(), "ffffb", ""),
        (Outlier(), "ffffbf", ""),  # a response, if a bad one, is no failed attempt
        (Outlier(bad_statuses=2), "bb", "2 responses in a row had a bad status"),
        (Outlier(bad_statuses=2), "bsb", ""),
        (Outlier(bad_statuses=2), "b+b", ""),
        (Outlier(bad_statuses=2), "bfb", "2 responses in a row had a bad status"),
        (Outlier(bad_statuses=2), "ss", ""),
        (Outlier(failures=1), "f", "1 attempt in a row failed"),
    ],
)
def test_rows(rules: Outlier, story: str, why: str) -> None:
    verdicts = run(rules, story)
    assert verdicts[-1] == why
    assert not any(verdicts[:-1])


def test_what_may_be_of_before_the_last_good_one_is_in_no_row() -> None:
    record = Record()
    for number in range(10):
        assert record.report(Outlier(), BEFORE, "connect", 0, number + 1, float(number)) == ""
    assert record.report(Outlier(), NEXT, "connect", 0, 11, 10.0) == ""


RATIO = Outlier(failures=0, connect_errors=0, ratio=0.5, window=10.0, min_requests=10)


@pytest.mark.parametrize(
    ("reports", "last"),
    [
        # (moment, attempts so far): each of these attempts failed
        pytest.param([(n * 0.1, n + 1) for n in range(9)], "", id="too few attempts"),
        pytest.param([(n * 0.1, n + 1) for n in range(10)], "10 of 10 attempts within 10 s were bad", id="all bad"),
        pytest.param([(n * 0.1, 2 * n + 1) for n in range(10)], "10 of 19 attempts within 10 s were bad", id="half of them"),
        pytest.param([(n * 0.1, 3 * n + 1) for n in range(30)], "", id="a third of them"),
        pytest.param([(n * 2.0, n + 1) for n in range(30)], "", id="never ten within a window"),
        pytest.param([(5.0, 100_001), *((6 + n * 0.1, 100_002 + n) for n in range(30))], "", id="many good ones just before"),
        pytest.param(
            [(5.0, 100_001), *((6 + n * 0.1, 100_002 + n) for n in range(101))],
            "101 of 101 attempts within 10 s were bad",
            id="but not within a window",
        ),
    ],
)
def test_ratio(reports: list[tuple[float, int]], last: str) -> None:
    record = Record()
    verdicts = [record.report(RATIO, BEFORE, "failure", 0, attempts, moment) for moment, attempts in reports]
    assert re.fullmatch(last, verdicts[-1])


def test_bad_statuses_count_for_the_ratio_and_others_do_not() -> None:
    for status, out in ((503, True), (500, False)):
        record = Record()
        whys = [record.report(RATIO, NEXT, "status", status, n + 1, n * 0.1) for n in range(12)]
        assert any(whys) == out


def test_ejections_grow_up_to_the_longest_and_shrink_with_time_behaved_well() -> None:
    rules = Outlier(time=10.0, max_time=35.0)
    record, now, lasted = Record(), 100.0, []
    for well in (0.0, 1.0, 1.0, 1.0, 1.0, 25.0, 1000.0):
        now += well
        seconds = record.eject(rules, now)
        assert record.out
        lasted.append(seconds)
        now += seconds
        record.readmit(0, now)
        assert not record.out
    assert lasted == [10, 20, 30, 35, 35, 30, 10]


def test_what_is_out_is_not_looked_at_and_begins_anew_when_it_is_back() -> None:
    record = Record()
    for n in range(5):
        why = record.report(Outlier(), NEXT, "failure", 0, n + 1, float(n))
    assert why
    record.eject(Outlier(), 5.0)
    assert [record.report(Outlier(), NEXT, "connect", 0, 9, 6.0) for _ in range(9)] == [""] * 9
    record.readmit(9, 15.0)
    assert [bool(record.report(Outlier(), NEXT, "failure", 0, 10 + n, 16.0 + n)) for n in range(5)] == [False] * 4 + [True]


@given(st.lists(st.tuples(st.sampled_from("cfbs"), st.booleans(), st.floats(0, 30)), max_size=200))
def test_no_ratio_is_found_where_good_ones_prevail(story: list[tuple[str, bool, float]]) -> None:
    """Before each bad attempt comes a good one. A window that begins with a bad one has at most two of three."""
    record, now, attempts = Record(), 0.0, 1
    for letter, more, pause in story:
        now += pause
        attempts += 2 + more
        kind, status = {"c": ("connect", 0), "f": ("failure", 0), "b": ("status", 503), "s": ("status", 500)}[letter]
        rules = Outlier(failures=0, connect_errors=0, ratio=0.7, min_requests=3)
        assert record.report(rules, BEFORE, kind, status, attempts, now) == ""


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=50), st.floats(0.1, 60), st.floats(0.1, 600))
def test_an_ejection_lasts_at_least_its_time_and_at_most_the_longest(pauses: list[float], time: float, most: float) -> None:
    rules, record, now = Outlier(time=time, max_time=most), Record(), 0.0
    for pause in pauses:
        now += pause
        seconds = record.eject(rules, now)
        assert time <= seconds <= max(time, most)
        now += seconds
        record.readmit(0, now)
