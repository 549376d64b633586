"""Long counts in buckets that grow coarser, and the file that they become."""

from __future__ import annotations

import random

import pytest

from terraster.policy.series import Key, Packable, Series, packed, unpacked

HOUR, DAY = 3600, 86400
NOON = 1_795_003_200 - 1_795_003_200 % DAY + 12 * HOUR


def minutes(series: Series, first: int, count: int, total: float = 10, bad: float = 1) -> Series:
    """A minute's requests in each of `count` minutes from `first` on."""
    for number in range(count):
        series.add(first + 60 * number, total, bad)
    return series


def parts(series: dict[Key, Series]) -> list[Packable]:
    return [(key, *one.octets()) for key, one in series.items()]


def test_windows_of_an_hour_or_less_are_counted_by_the_minute() -> None:
    series = minutes(Series(), NOON - 2 * HOUR, 120)
    series.add(NOON - 60, 0, 4)
    assert series.over(300, NOON) == (50, 9)
    assert series.over(HOUR, NOON) == (600, 64)
    assert series.over(300, NOON + 60) == (40, 8)
    assert series.over(300, NOON + 30) == (45, 8.5), "half of the oldest minute is within the window"
    assert series.over(300, NOON + 300) == (0, 0)


def test_longer_windows_are_counted_by_coarser_buckets() -> None:
    series = minutes(Series(), NOON - 4 * DAY, 4 * 24 * 60)
    assert series.over(6 * HOUR, NOON) == (3600, 360)
    assert series.over(DAY, NOON) == (14400, 1440)
    assert series.over(3 * DAY, NOON) == (3 * 14400, 3 * 1440)
    assert series.over(30 * DAY, NOON) == (4 * 14400, 4 * 1440)
    assert series.over(DAY, NOON + 1800) == (14400 - 300, 1440 - 30), "half of the oldest hour is within the window"


def test_a_bucket_that_is_under_way_counts_whole() -> None:
    series = minutes(Series(), NOON, 7)
    for window in (300, 6 * HOUR, DAY, 30 * DAY):
        assert series.over(window, NOON + 420) == ((50, 5) if window == 300 else (70, 7))


def test_what_is_older_than_the_longest_window_is_let_go() -> None:
    series = Series()
    for hour in range(0, 200 * 24, 6):
        series.add(NOON + hour * HOUR, 1, 0)
    now = NOON + 200 * DAY
    assert series.over(90 * DAY, now)[0] == pytest.approx(360, abs=1)
    lengths, octets = series.octets()
    assert lengths[0] <= 61 and sum(lengths) <= 530 and len(octets) == 24 * sum(lengths)
    assert series.first() >= now - 91 * DAY


def test_the_beginning_of_the_counting_is_told_as_exactly_as_the_buckets_know_it() -> None:
    begin = NOON + 5 * HOUR + 2040
    assert minutes(Series(), begin, 1).first() == begin
    assert minutes(Series(), begin, 60).first() == begin
    assert minutes(Series(), begin, 120).first() == NOON + 5 * HOUR + 1800, "its minute is let go, its ten minutes are known"
    assert minutes(Series(), begin, 12 * 60).first() == NOON + 5 * HOUR
    after_a_pause = minutes(Series(), begin, 1)
    after_a_pause.add(begin + 4 * DAY, 1, 0)
    assert after_a_pause.first() == NOON


def test_a_clock_that_goes_back_a_little_loses_nothing_and_one_that_was_far_ahead_leaves_nothing() -> None:
    series = minutes(Series(), NOON, 10)
    series.add(NOON + 120, 5, 5)
    assert series.over(HOUR, NOON + 600) == (105, 15)
    series.add(NOON + 365 * DAY, 1000, 1000)
    series.add(NOON + 600, 10, 1)
    assert series.over(HOUR, NOON + 660)[0] <= 10 and series.over(90 * DAY, NOON + 365 * DAY + 60) == (0, 0)


def test_requests_of_the_future_do_not_count() -> None:
    series = minutes(Series(), NOON, 10)
    assert series.over(HOUR, NOON + 119) == (20, 2)


def test_a_file_gives_back_what_went_in() -> None:
    chance = random.Random(3)
    series = {}
    for number in range(20):
        one = series[f"shop/{number} ä", "server errors"] = Series()
        for _ in range(50):
            one.add(NOON + 60 * chance.randrange(10_000), chance.randrange(1000), chance.random())
    again = unpacked(packed(parts(series)))
    assert list(again) == list(series)
    assert [one.octets() for one in again.values()] == [one.octets() for one in series.values()]
    assert unpacked(packed([])) == {} and unpacked(packed(parts({("a", "b"): Series()})))["a", "b"].first() == 0


def test_a_damaged_file_is_refused() -> None:
    whole = packed(parts({("shop/", "server errors"): minutes(Series(), NOON, 100)}))
    for end in range(len(whole)):
        with pytest.raises(ValueError):
            unpacked(whole[:end])
    for at in range(len(whole)):
        with pytest.raises(ValueError):
            unpacked(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
    with pytest.raises(ValueError):
        unpacked(whole + b"x")
