"""The lag of an event loop: what the timer of the sweep tells, and how it is shown."""

from __future__ import annotations

from itertools import accumulate

import pytest

from terraster.cli import render
from terraster.net.reactor import SWEEP
from terraster.state.cells import WAITS, Seat
from terraster.state.view import SeatView
from terraster.worker.lag import WINDOW, Lag

from .test_admin_metrics import samples, scrape
from .test_admin_readings import House
from .test_admin_status import status


@pytest.fixture
def house() -> House:
    return House()


def lag_of(house: House, seat: int = 1) -> Lag:
    view = SeatView(house.table)
    view.sit(seat)
    return Lag(view)


def counted(house: House, seat: int = 1) -> tuple[float, int, float]:
    """(sum, number, longest) of the lags of a worker; seconds"""
    at = house.table.seat(seat)
    return (
        round(house.q[at + Seat.LAG_TIME] / 1e9, 6),
        sum(house.q[at + Seat.LAG_BUCKET : at + Seat.LAG_BUCKET + len(WAITS) + 1]),
        round(house.q[at + Seat.LAG_LONGEST] / 1e9, 6),
    )


@pytest.mark.parametrize(
    ("fires", "total", "longest"),
    [
        pytest.param([1], 0.0, 0.0, id="the first sweep, whenever it comes"),
        pytest.param([1, 1.1, 1.2, 1.3], 0.0, 0.0, id="in time"),
        pytest.param([1, 1.13, 1.2, 1.35], 0.08, 0.05, id="late, and the next one keeps the beat"),
        pytest.param([1, 1.13, 1.23, 1.33], 0.09, 0.03, id="always late"),
        pytest.param([1, 1.6, 1.6, 1.7], 0.5, 0.5, id="held for half a second: what was due meanwhile fires once"),
        pytest.param([1, 1.099, 1.199, 1.299], 0.0, 0.0, id="the beat was a little earlier than the first clock"),
    ],
)
def test_how_late_a_timer_is(house, fires, total, longest):
    lag = lag_of(house)
    for now in fires:
        lag.swept(float(now))
    assert counted(house) == (pytest.approx(total, abs=1e-6), len(fires), pytest.approx(longest, abs=1e-6))


def test_the_longest_is_that_of_the_last_minute(house):
    lag, now = lag_of(house), 100.0
    lag.swept(now)
    lag.swept(now + SWEEP + 0.4)
    now += SWEEP + 0.4
    lag.swept(now)  # the one that was due meanwhile
    seen = []
    for _ in range(int(2 * WINDOW / SWEEP) + 5):
        now += SWEEP
        lag.swept(now)
        seen.append(counted(house)[2])
    assert seen[int(WINDOW / SWEEP)] == 0.4 and seen[-1] < 0.01


def test_it_is_shown_for_each_proxy_worker(house):
    lag = lag_of(house, 2)
    lag.swept(1.0)
    for now in (1.1, 1.2, 1.65, 1.65):
        lag.swept(now)
    found = samples(scrape(house))
    name = "terraster_event_loop_lag_seconds"
    buckets = [found[f"{name}_bucket{{le={bound},worker=2}}"] for bound in (*WAITS, "+Inf")]
    assert buckets == list(accumulate((4, 0, 0, 0, 0, 1, 0, 0, 0)))
    assert found[f"{name}_count{{worker=2}}"] == 5 and found[f"{name}_sum{{worker=2}}"] == pytest.approx(0.35)
    assert found["terraster_event_loop_lag_max_seconds{worker=2}"] == pytest.approx(0.35)
    assert found["terraster_event_loop_lag_max_seconds{worker=1}"] == 0 and f"{name}_count{{worker=3}}" not in found
    document = status(house)
    assert [worker["lag"] for worker in document["workers"]] == [0.0, pytest.approx(0.35), None]
    text = render.status(document)
    assert text.count("event loop") == 1
    assert "its event loop was held: requests waited up to 350ms within the last minute" in text
    assert max(map(len, text.splitlines())) <= 80
