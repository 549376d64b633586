"""Minutes of traffic: what is counted, and the records that they become."""

from __future__ import annotations

import random

import pytest

from terraster.policy.minutes import Minute, Names, deltas, merged, quantile, recorded, records

BOUNDS = (0.01, 0.1, 1.0)


@pytest.mark.parametrize(
    ("before", "now", "grown"),
    [
        (None, [3, 1], [3, 1]),
        ([3, 1], [3, 1], [0, 0]),
        ([3, 1], [5, 4], [2, 3]),
        ([3, 4], [5, 1], [5, 1]),  # they began anew
    ],
)
def test_deltas(before: list[int] | None, now: list[int], grown: list[int]) -> None:
    assert deltas(before, now) == grown


@pytest.mark.parametrize(
    ("counts", "share", "seconds"),
    [
        ([0, 0, 0, 0], 0.5, 0.0),
        ([10, 0, 0, 0], 0.5, 0.005),
        ([10, 0, 0, 0], 1.0, 0.01),
        ([50, 50, 0, 0], 0.5, 0.01),
        ([50, 50, 0, 0], 0.75, 0.055),
        ([0, 0, 10, 0], 0.5, 0.55),
        ([1, 0, 0, 99], 0.99, 1.0),  # beyond the last bound: its end
        ([0, 0, 0, 5], 0.5, 1.0),
    ],
)
def test_quantiles(counts: list[int], share: float, seconds: float) -> None:
    assert quantile(BOUNDS, counts, share) == pytest.approx(seconds)


def minute(when: int, count: int = 3) -> Minute:
    locations = {f"service{number}/": (number + 1, 2, 1, 10, 20, 30) for number in range(count)}
    return Minute(when, 60.0, locations, {f"{name} http://b": (4, 3, 2) for name in locations})


def test_what_is_recorded_is_read() -> None:
    names = Names()
    minutes = [minute(60, 2), minute(120, 3), Minute(180, 12.3, {}, {})]
    octets = [recorded(one, names) for one in minutes]
    assert list(records(b"".join(octets))) == minutes
    (one, other, _) = records(b"".join(octets), "service1/".__eq__)
    assert list(one.locations) == list(other.locations) == ["service1/"] and one.locations == {"service1/": (2, 2, 1, 10, 20, 30)}


def test_a_record_that_is_cut_off_or_damaged_ends_the_file() -> None:
    names = Names()
    whole = [recorded(minute(60 * number), names) for number in range(3)]
    octets = b"".join(whole)
    for cut in range(len(octets)):
        found = [one.when // 60 for one in records(octets[:cut])]
        assert found == list(range(sum(len(b"".join(whole[: end + 1])) <= cut for end in range(3))))
    for at in range(0, len(octets), 5):
        damaged = bytearray(octets)
        damaged[at] ^= 0x10
        found = [one.when // 60 for one in records(bytes(damaged))]
        assert found == list(range(len(found))) and len(found) < 3


def test_a_minute_of_ten_thousand_busy_locations_is_small() -> None:
    lots = random.Random(1)
    rows = {f"customer-{n}.example.com/": tuple(lots.randrange(2000) for _ in range(6)) for n in range(10_000)}
    backends = {f"{name} http://10.0.{n % 250}.{n // 250}:8080": (lots.randrange(2000), 0, 1) for n, name in enumerate(rows)}
    names = Names()
    recorded(Minute(0, 60.0, rows, backends), names)
    octets = recorded(Minute(60, 60.0, rows, backends), names)
    assert len(octets) < 300_000


def test_two_parts_of_a_minute_are_one() -> None:
    one = Minute(60, 20.0, {"a/": (1, 1, 0, 5, 9, 9), "b/": (1, 0, 0, 1, 1, 1)}, {"a/ b": (1, 1, 0)})
    other = Minute(60, 30.0, {"a/": (2, 0, 1, 7, 8, 10)}, {"a/ b": (2, 0, 1), "c/ d": (1, 0, 0)})
    found = merged(one, other)
    assert (found.when, found.seconds) == (60, 50.0)
    assert found.locations == {"a/": (3, 1, 1, 7, 9, 10), "b/": (1, 0, 0, 1, 1, 1)}
    assert found.backends == {"a/ b": (3, 1, 1), "c/ d": (1, 0, 0)}
