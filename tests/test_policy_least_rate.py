"""The least rate of a client: 100 octets a second, over 5 seconds."""

from __future__ import annotations

import pytest

from terraster.policy.least_rate import LeastRate

STEADY = [100 * second for second in range(20)]


@pytest.mark.parametrize(
    ("octets", "ended"),
    [
        (STEADY, None),
        ([99 * second for second in range(20)], 5),
        ([0] * 20, 5),
        ([7] * 20, 5),
        ([0, 0, 0, 0, 499, 500, 500, 500, 500, 500, 500], 10),
        ([0, 10_000, *range(10_000, 10_020)], 10),
        ([None] * 20, None),
        ([0, 0, None, 0, 0, None, 0, 0, None, 0, 0], None),
        ([0, 0, None, 0, 0, None, 0, 0, None, 0, 0, None, 0, 0], 13),
        ([5000 + octets for octets in STEADY], None),
    ],
    ids=[
        "as fast as it must be",
        "a little slower",
        "nothing at all",
        "nothing more",
        "just in time, and then nothing",
        "much at first is no credit for later",
        "it is not waited for",
        "the second between a look and the first one after a rest does not count",
        "what was waited in pieces adds up",
        "from any beginning",
    ],
)
def test_when_a_client_is_too_slow(octets: list[int | None], ended: int | None) -> None:
    """octets: that have passed, at a look each second; None: it is not waited for then. ended: the look that ends it"""
    rate = LeastRate(100, 5.0)
    for look, passed in enumerate(octets):
        if passed is None:
            rate.rest()
        elif rate.is_too_slow(passed, 1.0):
            assert look == ended
            return
    assert ended is None


def test_the_time_between_two_looks_is_taken_as_it_was() -> None:
    rate = LeastRate(100, 5.0)
    assert [rate.is_too_slow(octets, 2.5) for octets in (0, 300, 499)] == [False, False, True]
