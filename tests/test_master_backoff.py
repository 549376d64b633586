"""Back-off of respawns, as a table."""

from __future__ import annotations

import pytest

from terraster.master.backoff import Backoff

ROWS = [
    # ages at death, delays
    ([100.0], [0]),
    ([0.1], [0]),
    ([0.1, 0.1, 0.1, 0.1], [0, 0.25, 0.5, 1.0]),
    ([0.1] * 12, [0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0, 10.0]),
    ([0.1, 0.1, 5.0, 0.1, 0.1], [0, 0.25, 0, 0, 0.25]),
    ([0.8] * 5, [0] * 5),
]


@pytest.mark.parametrize(("ages", "delays"), ROWS)
def test_delays(ages: list[float], delays: list[float]) -> None:
    backoff = Backoff()
    assert backoff.remaining(50.0) <= 0
    for age, delay in zip(ages, delays, strict=True):
        assert backoff.died(100.0, age) == delay
        assert backoff.remaining(100.0) == delay
        assert backoff.remaining(100.0 + delay) <= 0
