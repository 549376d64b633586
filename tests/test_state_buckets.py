"""Buckets of rate limits in the shared table: what one process lets pass, what several do, and what is left of those that end."""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.state.buckets import Buckets
from terraster.state.cells import Seat, SeatBucket
from terraster.state.table import Table
from terraster.state.view import SeatView

SECOND = 1_000_000_000
KEY = 0x1234_5678_9ABC_DEF1
RATE, BURST = 10, 5
INTERVAL = SECOND // RATE
TOLERANCE = INTERVAL * BURST


def seated(table: Table, *seats: int) -> None:
    for seat in seats:
        table.q[table.seat(seat) + Seat.PID] = 1000 + seat
        table.q[table.seat(seat) + Seat.ROLE] = Seat.PROXY


def views(table: Table, *seats: int) -> list[SeatView]:
    made = [SeatView(table) for _ in seats]
    for view, seat in zip(made, seats, strict=True):
        view.sit(seat)
    return made


def buckets(view: SeatView, forgotten: list[int] | None = None) -> Buckets:
    return Buckets(view, lambda: (forgotten if forgotten is not None else []).append(1))


def several(seats: Sequence[int]) -> tuple[Table, list[Buckets]]:
    table = Table(1, 1, 17)
    seated(table, *seats)
    return table, [buckets(view) for view in views(table, *seats)]


def take(one: Buckets, now: int, key: int = KEY) -> int:
    return one.take(key, now, INTERVAL, TOLERANCE)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3 * INTERVAL)), max_size=60))
def test_several_processes_decide_as_one_would(steps: list[tuple[int, int]]) -> None:
    """steps: which process is asked next, and how long after the one before"""
    _, processes = several((1, 2, 3, 4))
    now, arrival = 7 * SECOND, 0
    for process, later in steps:
        now += later
        debt = max(arrival, now) - now + INTERVAL
        if debt <= TOLERANCE:
            arrival = now + debt
        assert take(processes[process], now) == (debt if debt <= TOLERANCE else TOLERANCE - debt)


@given(
    st.lists(st.tuples(st.sampled_from(("take", "die", "refresh")), st.integers(0, 2), st.integers(0, 3 * INTERVAL)), max_size=80)
)
def test_nobody_waits_for_what_was_never_spent(steps: list[tuple[str, int, int]]) -> None:
    """Processes that die, are replaced, and learn of each other late refuse nothing that one process would let pass, however much the dead ones
    had let pass before. steps: what, by which process, and how long after the one before; `die`: another one sits down in its seat."""
    table = Table(1, 1, 17)
    seats = (1, 2, 3)
    seated(table, *seats)
    now = arrival = 7 * SECOND
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic_ns", lambda: now)
        processes = views(table, *seats)
        for what, process, later in steps:
            now += later
            if what == "refresh":
                processes[process].refresh()
            elif what == "die":
                table.retire(seats[process], (), ())
                for other in processes:
                    if other is not processes[process]:
                        other.refresh()
                seated(table, seats[process])
                (processes[process],) = views(table, seats[process])
            else:
                debt = max(arrival, now) - now + INTERVAL
                passed = take(buckets(processes[process]), now) > 0
                assert passed or debt > TOLERANCE
                if passed:
                    arrival = now + debt


def test_a_new_process_in_the_seat_of_a_dead_one_is_owed_nothing() -> None:
    """The dead one had let much pass, its clients came to rest, and the others forgot it, before the next one came."""
    table, (one, _) = several((1, 2))
    now = time.monotonic_ns() - 100 * SECOND
    for number in range(50):
        assert take(one, now + number * INTERVAL) > 0
    table.retire(1, (), ())
    (view,) = views(table, 2)
    assert len(view.all_buckets) == 1
    now = time.monotonic_ns()
    assert take(buckets(view), now) == INTERVAL
    seated(table, 1)
    view.refresh()
    assert take(buckets(view), now) == 2 * INTERVAL
    assert take(buckets(*views(table, 1)), now) == 3 * INTERVAL


def test_clients_do_not_share_a_bucket() -> None:
    _, (one, other) = several((1, 2))
    same_set = KEY ^ 0xFF
    for _ in range(BURST):
        assert take(one, SECOND) > 0
    assert take(other, SECOND) < 0
    assert take(other, SECOND, same_set) == INTERVAL
    assert take(one, SECOND, same_set) == 2 * INTERVAL


def test_what_a_process_that_ended_let_pass_still_counts() -> None:
    table, (one, other) = several((1, 2))
    now = time.monotonic_ns()
    for _ in range(BURST):
        assert take(one, now) > 0
    table.retire(1, (), ())
    (later,) = views(table, 2)
    assert len(later.all_buckets) == 2
    assert take(buckets(later), now) < 0
    assert take(buckets(later), now + INTERVAL) == TOLERANCE
    assert take(buckets(later), now + INTERVAL) < 0


def test_the_cells_of_a_process_that_ended_are_read_while_a_client_of_it_is_in_debt() -> None:
    """A living process goes on with a client that never comes to rest: without the old cells it would have a new burst."""
    table, (one, _) = several((1, 2))
    now = time.monotonic_ns()
    for _ in range(BURST):
        assert take(one, now) > 0
    end = table.q[table.seat_until(1)]
    assert end == now + TOLERANCE
    table.retire(1, (), ())
    (view,) = views(table, 2)
    for _ in range(2 * BURST):
        now += INTERVAL
        assert take(buckets(view), now) == TOLERANCE
    assert table.q[table.seat_until(1)] == now + TOLERANCE > end
    assert table.counting_buckets(now + TOLERANCE - 1)[1] == [(table.seat_buckets(1), table.seat_until(1))]
    assert table.counting_buckets(now + TOLERANCE)[1] == []


def test_the_cells_of_a_process_count_as_long_as_others_go_on_with_its_client() -> None:
    """It may end at any moment, and the others may hear of that late."""
    table, (one, other) = several((1, 2))
    now = time.monotonic_ns()
    for _ in range(BURST):
        assert take(one, now) > 0
    for _ in range(3 * BURST):
        now += INTERVAL
        assert take(other, now) == TOLERANCE
    assert table.q[table.seat_until(1)] == now + TOLERANCE
    table.retire(1, (), ())
    (view,) = views(table, 2)
    assert len(view.all_buckets) == 2
    assert take(buckets(view), now) < 0


def test_the_next_process_in_a_seat_goes_on_where_the_last_one_ended() -> None:
    table, (one, _) = several((1, 2))
    for _ in range(BURST):
        assert take(one, SECOND) > 0
    table.retire(1, (), ())
    seated(table, 1)
    assert take(buckets(*views(table, 1)), SECOND) < 0


def test_another_master_goes_on_with_the_buckets_of_the_first_one() -> None:
    first = Table(1, 1, 17)
    seated(first, 1)
    now = time.monotonic_ns()
    for _ in range(BURST):
        assert take(buckets(*views(first, 1)), now) > 0
    second = Table.adopt(os.dup(first.descriptor))
    second.sit(1)
    seat = second.seats_of(1)[0]
    seated(second, seat)
    assert take(buckets(*views(second, seat)), now) < 0
    assert second.secret == first.secret != bytes(16)


def test_a_full_set_forgets_the_client_with_the_least_debt() -> None:
    table = Table(1, 1, 17)
    seated(table, 1, 2)
    forgotten: list[int] = []
    one, other = (buckets(view, forgotten) for view in views(table, 1, 2))
    clients = [KEY ^ number for number in range(SeatBucket.WAYS + 2)]
    for number, client in enumerate(clients[: SeatBucket.WAYS]):
        take(one, SECOND + number, client)
    take(other, SECOND, clients[0])  # so that another one has the least debt
    take(one, SECOND, clients[-1])
    assert forgotten == [1]
    assert take(one, SECOND, clients[0]) == 3 * INTERVAL
    at_rest = 2 * SECOND
    take(one, at_rest, clients[-2])
    assert forgotten == [1], "a client without debt is no loss"


def test_processes_at_the_same_time_let_through_what_one_may() -> None:
    """Four processes as fast as they can: never more than the burst and what the time allows, and one for each other process."""
    rate, burst, seconds = 1000, 100, 0.5
    table = Table(1, 1, 17)
    seats = (1, 2, 3, 4)
    seated(table, *seats)
    found = memoryview(mmap.mmap(-1, 4096)).cast("Q")
    start = time.monotonic_ns() + 100_000_000
    children = []
    for seat in seats:
        child = os.fork()
        if not child:
            one = buckets(*views(table, seat))
            now = start
            while (now := time.monotonic_ns()) < start + int(seconds * SECOND):
                if now > start and one.take(KEY, now, SECOND // rate, burst * SECOND // rate) > 0:
                    found[seat] += 1
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    assert burst <= sum(found) <= burst + rate * seconds + len(seats) - 1


def test_processes_that_are_stopped_and_killed_anywhere_hold_nothing_up_and_lose_nothing() -> None:
    rate, burst = 1000, 100
    table = Table(1, 1, 17)
    seats = (1, 2, 3)
    seated(table, *seats)
    found = memoryview(mmap.mmap(-1, 4096)).cast("Q")
    start = time.monotonic_ns()
    children = []
    for seat in seats:
        child = os.fork()
        if not child:
            one = buckets(*views(table, seat))
            while True:
                if one.take(KEY, time.monotonic_ns(), SECOND // rate, burst * SECOND // rate) > 0:
                    found[seat] += 1
        children.append(child)
    try:
        for turn in range(60):
            os.kill(children[turn % 2], signal.SIGSTOP)
            time.sleep(0.002)
            os.kill(children[turn % 2], signal.SIGCONT)
        os.kill(children[0], signal.SIGKILL)
        os.kill(children[1], signal.SIGSTOP)
        before = found[3]
        deadline = time.monotonic() + 10
        while found[3] < before + 50 and time.monotonic() < deadline:
            time.sleep(0.002)
        assert found[3] >= before + 50, "the one that runs is held up"
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    allowed = burst + rate * (time.monotonic_ns() - start) / SECOND + len(seats)
    assert sum(found) <= allowed
