"""Members: counting into the own seat, and limits that hold over all seats."""

from __future__ import annotations

import os
import time

import pytest

from terraster.balance.contract import Member
from terraster.config.snapshot import Backend
from terraster.state.cells import BackendCells, Seat, SeatBackend
from terraster.state.table import Table
from terraster.state.view import SeatView

from .harness.seats import seated


def seats(count: int) -> list[SeatView]:
    return seated(Table(8, 1, count + 1), count)


def backend(slot: int = 3, limit: int = 0) -> Backend:
    return Backend(f"b{slot}", "http://b", "http", "b", 80, max_connections=limit, slot=slot)


def test_a_member_counts_in_its_own_seat_and_reads_all() -> None:
    views = seats(2)
    here, there = (Member(backend(), view) for view in views)
    assert here.take() and here.take() and there.take()
    own = [view.q[view.table.seat_backend(view.seat, 3) + SeatBackend.ACTIVE] for view in views]
    assert own == [2, 1]
    assert here.active() == there.active() == 3
    here.give_back()
    assert there.active() == 2


def test_no_more_is_given_back_than_was_taken() -> None:
    [view] = seats(1)
    member = Member(backend(), view)
    with pytest.raises(ValueError):
        member.give_back()
    assert member.active() == 0 and member.take() and member.active() == 1


def test_a_plan_made_before_the_fork_follows_its_view() -> None:
    table = Table(8, 1, 3)
    view = SeatView(table)
    member = Member(backend(), view)
    view.sit(2)
    member.take()
    assert table.q[table.seat_backend(2, 3) + SeatBackend.ACTIVE] == 1
    assert table.q[table.seat_backend(0, 3) + SeatBackend.ACTIVE] == 0


def test_up_is_what_the_master_wrote() -> None:
    (view,) = seats(1)
    member = Member(backend(), view)
    assert not member.is_up()
    view.q[view.table.backend(3) + BackendCells.ADMIT] = 1
    assert member.is_up()


def test_the_limit_holds_over_seats() -> None:
    members = [Member(backend(limit=3), view) for view in seats(2)]
    taken = [member.take() for member in (*members, *members, *members)]
    assert taken == [True, True, True, False, False, False]
    assert not members[0].has_room()
    members[0].give_back()
    assert members[1].has_room() and members[1].take()
    assert members[0].active() == 3


def admit(view: SeatView, how: int, ramp: int = 0, trials: int = 0) -> None:
    at = view.table.backend(3)
    view.q[at + BackendCells.ADMIT] = how
    view.q[at + BackendCells.RAMP] = ramp
    view.q[at + BackendCells.TRIAL_LIMIT] = trials


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_trials_are_counted_over_seats(limit: int) -> None:
    views = seats(3)
    members = [Member(backend(), view) for view in views]
    admit(views[0], BackendCells.TRIAL, trials=limit)
    taken = []
    for number in range(12):
        if members[number % 3].take():
            members[number % 3].give_back()  # its end makes no room: whether it went well is for the master to say
            taken.append(number)
    assert taken == list(range(limit))
    assert members[0].on_trial() and members[0].active() == 0
    admit(views[0], BackendCells.TRIAL, trials=limit + 1)
    assert members[0].take()


@pytest.mark.parametrize("ramp", [0, 1, 10, 333, 500, 999, 1000])
def test_a_slow_start_takes_exactly_its_part(ramp: int) -> None:
    (view,) = seats(1)
    member = Member(backend(), view)
    admit(view, BackendCells.RAMPING, ramp=ramp)
    assert sum(member.take() for _ in range(3000)) == 3 * ramp
    assert member.active() == 3 * ramp
    assert all(member.take(ramps=False) for _ in range(10))


def test_slowness() -> None:
    (view,) = seats(1)
    member = Member(backend(), view)
    for how, ramp, slowness in ((1, 0, 1.0), (3, 250, 4.0), (3, 0, 1000.0), (3, 1000, 1.0), (3, 5000, 1.0), (0, 500, 1.0)):
        admit(view, how, ramp)
        assert member.slowness() == slowness


def test_sessions_are_kept_while_draining_and_not_in_maintenance() -> None:
    (view,) = seats(1)
    member = Member(backend(), view)
    for state, kept in (
        (BackendCells.DRAINING, True),
        (BackendCells.MAINTENANCE, False),
        (BackendCells.EJECTED, False),
        (0, False),
    ):
        view.q[view.table.backend(3) + BackendCells.STATE] = state
        assert member.keeps_sessions() is kept
        assert not member.is_up()


@pytest.mark.parametrize("slot", [-1, 8])
def test_a_slot_that_was_not_leased(slot: int) -> None:
    with pytest.raises(IndexError):
        Member(backend(slot), seats(1)[0])


def test_the_limit_is_never_exceeded_by_processes_that_race() -> None:
    limit, workers = 3, 4
    views = seats(workers)
    rows = [view.table.seat(view.seat) for view in views]
    end = time.monotonic() + 0.5
    children = []
    for view in views:
        child = os.fork()
        if not child:
            member = Member(backend(limit=limit), view)
            worst = taken = 0
            while time.monotonic() < end or not taken:  # on a busy machine a child may begin late
                if member.take():
                    taken += 1
                    # ACTIVE also counts, for a moment, those who will step back: who was let in is written to another cell.
                    worst = max(worst, view.q[view.backends + member.offset + SeatBackend.ACTIVE])
                    q, at = view.q, view.table.seat(view.seat)
                    q[at + Seat.HEARTBEAT] += 1
                    q[at + Seat.ACCEPTED] = 1
                    entries = [q[row + Seat.HEARTBEAT] for row in rows]
                    inside = sum(q[row + Seat.ACCEPTED] for row in rows)
                    if entries == [q[row + Seat.HEARTBEAT] for row in rows]:  # else they were perhaps not inside all at once
                        q[at + Seat.CONNECTIONS] = max(q[at + Seat.CONNECTIONS], inside)
                    q[at + Seat.ACCEPTED] = 0
                    member.give_back()
            os._exit(0 if taken and worst == 1 else 1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * workers
    q, table = views[0].q, views[0].table
    assert max(q[table.seat(seat) + Seat.CONNECTIONS] for seat in range(1, workers + 1)) <= limit
    assert Member(backend(), views[0]).active() == 0
