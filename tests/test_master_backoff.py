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
    for now, (age, delay) in enumerate(zip(ages, delays, strict=True), 100):
        assert backoff.died(now, age) == delay
        assert backoff.remaining(now) == delay
        assert backoff.remaining(now + delay) <= 0


TOGETHER = [
    # (time, age) of each death, delays
    ([(100.0, 0.3), (100.01, 0.3), (100.04, 0.2)], [0, 0, 0]),  # killed together
    ([(100.0, 0.3), (100.01, 0.3), (101.0, 0.1)], [0, 0, 0.25]),
    ([(100.0, 0.3), (100.06, 0.3)], [0, 0.25]),  # not quite together
    ([(100.0, 0.3), (100.02, 0.01), (100.04, 0.01)], [0, 0.25, 0.5]),  # started since: these cannot live
]


@pytest.mark.parametrize(("deaths", "delays"), TOGETHER)
def test_children_that_die_together_count_once(deaths: list[tuple[float, float]], delays: list[float]) -> None:
    backoff = Backoff()
    assert [backoff.died(now, age) for now, age in deaths] == delays
