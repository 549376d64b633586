"""Times in histograms: the bucket of each, and the cells that count it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from terraster.state.cells import BUCKET_OF, BUCKETS, FINE, QUICK, WAITS, SeatBackend, SeatLocation, bucket_of, responses
from terraster.state.table import Table
from terraster.state.times import connected, waited
from terraster.state.view import SeatView


@given(st.integers(0, QUICK - 1))
@example(0)
@example(FINE - 1)
@example(FINE + 1)
@example(QUICK - 1)
def test_the_quick_way_to_a_bucket_is_the_long_one_but_on_a_bound(nanoseconds: int) -> None:
    exact = nanoseconds / 1e9 in BUCKETS
    assert BUCKET_OF[nanoseconds // FINE] == bucket_of(nanoseconds / 1e9) + exact


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.0005, 0), (0.00051, 1), (0.02, 3), (0.1, 4), (0.5, 5), (5.0, 7), (5.1, 8), (1e6, 8)]
)
def test_what_is_counted_for_a_wait_and_for_a_connection(seconds: float, bucket: int) -> None:
    table = Table(3, 3, 3)
    view = SeatView(table)
    view.sit(1)
    connected(view, SeatBackend.CELLS, seconds)
    waited(view, 2 * SeatLocation.CELLS, seconds)
    made = table.seat_backend(1, 1)
    spent = table.seat_location(1, 2)
    expected = {made + SeatBackend.CONNECT_BUCKET + bucket: 1, spent + SeatLocation.QUEUE_BUCKET + bucket: 1}
    if seconds:
        expected |= {made + SeatBackend.CONNECT_TIME: int(seconds * 1e9), spent + SeatLocation.QUEUE_TIME: int(seconds * 1e9)}
    first, end = table.seat_backend(1, 0), table.seat_location(1, table.unrouted) + SeatLocation.CELLS
    assert {at: table.q[at] for at in range(first, end) if table.q[at]} == expected
    assert bucket <= len(WAITS)


def test_responses_are_those_of_all_buckets_and_no_other_cell() -> None:
    table = Table(3, 3, 3)
    row = table.seat_backend(1, 1)
    for cell in range(-1, SeatBackend.CELLS + 1):
        table.q[row + cell] = 100
    assert responses(table.q, row) == 100 * (len(BUCKETS) + 1)
