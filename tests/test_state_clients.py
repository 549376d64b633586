"""Requests under way by client in the shared table."""

from __future__ import annotations

import mmap
import os
import time

from terraster.state.cells import Seat, SeatClient
from terraster.state.clients import Clients
from terraster.state.table import Table
from terraster.state.view import SeatView

KEY = 0x1234_5678_9ABC_DEF1


def made(*seats: int) -> tuple[Table, list[Clients]]:
    table = Table(1, 1, 17)
    for seat in seats:
        table.q[table.seat(seat) + Seat.PID] = 1000 + seat
    return table, [of(table, seat) for seat in seats]


def of(table: Table, seat: int) -> Clients:
    view = SeatView(table)
    view.sit(seat)
    return Clients(view)


def test_requests_of_all_processes_count() -> None:
    _, (one, other) = made(1, 2)
    first, second = one.enter(KEY, 2), other.enter(KEY, 2)
    assert first >= 0 and second >= 0
    assert (one.enter(KEY, 2), other.enter(KEY, 2)) == (Clients.REFUSED, Clients.REFUSED)
    assert other.enter(KEY ^ 1, 2) >= 0
    one.leave(first)
    assert other.enter(KEY, 2) == second
    assert one.enter(KEY, 2) == Clients.REFUSED


def test_requests_of_a_process_that_was_killed_are_over() -> None:
    table, (one, other) = made(1, 2)
    assert one.enter(KEY, 1) >= 0
    assert other.enter(KEY, 1) == Clients.REFUSED
    table.retire(1, (), ())
    assert other.enter(KEY, 1) >= 0
    table.q[table.seat(1) + Seat.PID] = 7
    assert of(table, 1).enter(KEY, 1) == Clients.REFUSED


def test_a_place_is_given_away_when_its_client_has_no_request_under_way() -> None:
    _, (one,) = made(1)
    cells = [one.enter(KEY ^ number, 1) for number in range(SeatClient.WAYS)]
    assert len(set(cells)) == SeatClient.WAYS and min(cells) >= 0
    assert one.enter(KEY ^ 0xFF, 1) == Clients.NO_ROOM
    one.leave(cells[3])
    assert one.enter(KEY ^ 0xFF, 1) == cells[3]
    assert [one.enter(KEY ^ number, 1) for number in (2, 3)] == [Clients.REFUSED, Clients.NO_ROOM]


def test_processes_at_the_same_time_never_exceed_the_limit() -> None:
    table, _ = made(1, 2, 3, 4)
    most = 3
    found = memoryview(mmap.mmap(-1, 4096)).cast("Q")
    end = time.monotonic() + 0.4
    children = []
    for seat in range(1, 5):
        child = os.fork()
        if not child:
            one = of(table, seat)
            while time.monotonic() < end:
                cells = [cell for _ in range(2) if (cell := one.enter(KEY, most)) >= 0]
                found[seat] = len(cells)
                if sum(found[1:5].tolist()) > most:
                    os._exit(1)
                found[seat] = 0
                for cell in cells:
                    one.leave(cell)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
