"""Which server errors are worth a line of the status."""

from __future__ import annotations

import random

import pytest

from terraster.policy.server_errors import Count, prevail, stands_out


@pytest.mark.parametrize(
    ("one", "siblings", "outcome"),
    [
        ((299, 299), (299, 0), True),  # nothing but errors
        ((8, 8), (8, 0), True),
        ((7, 7), (7, 0), False),  # too few to tell from chance
        ((100, 4), (100_000, 0), False),  # few errors, however rare they are elsewhere
        ((100, 5), (100_000, 0), True),
        ((1000, 20), (2000, 2), True),  # 2 % beside 0.1 %
        ((1000, 20), (2000, 30), False),  # 2 % beside 1.5 %
        ((100_000, 2000), (100_000, 1500), False),  # surely more, but not by much
        ((100, 100), (100, 100), False),  # all have them
        ((100, 100), (100, 51), False),
        ((100, 100), (0, 0), False),  # no sibling to compare with
        ((100, 0), (100, 100), False),
        ((3, 9), (100, 0), False),  # impossible counts: the slot has another backend now
    ],
)
def test_a_backend_that_stands_out(one, siblings, outcome):
    assert stands_out(Count(*one), Count(*siblings)) is outcome


def test_equal_backends_rarely_stand_out():
    """Three equal backends with 3 % of errors, compared 2,000 times."""
    chance = random.Random(4711)
    alarms = 0
    for _ in range(2000):
        counts = [Count(150, sum(chance.random() < 0.03 for _ in range(150))) for _ in range(3)]
        rest = Count(300, counts[1].errors + counts[2].errors)
        alarms += stands_out(counts[0], rest)
    assert alarms <= 2


@pytest.mark.parametrize(
    ("together", "outcome"), [((20, 10), True), ((20, 9), False), ((19, 19), False), ((0, 0), False), ((1000, 1000), True)]
)
def test_errors_that_prevail(together, outcome):
    assert prevail(Count(*together)) is outcome
