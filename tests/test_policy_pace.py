"""Pace: pieces get smaller where calls take long, and larger where they are short."""

from __future__ import annotations

import pytest

from terraster.policy.pace import LEAST, MOST, Pace


@pytest.mark.parametrize(
    ("piece", "octets", "seconds", "after"),
    [
        (8192, 8192, 0.0002, 8192),
        (8192, 8192, 0.00005, 16384),
        (8192, 8192, 0.0004, 4096),
        (8192, 100, 0.00005, 8192),
        (MOST, MOST, 0.00001, MOST),
        (8192, 2048, 0.0004, 1024),
        (8192, 512, 0.0004, 8192),
        (LEAST, LEAST, 0.5, LEAST),
        (1500, 1500, 0.5, LEAST),
    ],
)
def test_pace(piece: int, octets: int, seconds: float, after: int) -> None:
    pace = Pace(piece)
    pace.took(octets, seconds)
    assert pace.piece == after


@pytest.mark.parametrize("per_octet", [1e-9, 1e-8, 3e-8, 1e-7])
def test_calls_come_to_take_between_a_third_and_two_thirds_of_a_millisecond_at_most(per_octet: float) -> None:
    pace = Pace(8192)
    for _ in range(10):
        pace.took(pace.piece, pace.piece * per_octet)
    assert pace.piece * per_octet <= 0.0003
    assert pace.piece == MOST or pace.piece * per_octet >= 0.0001 / 2
