"""The shared table: what a retired seat leaves behind, and what readers see meanwhile."""

from __future__ import annotations

import errno
import os
import time

import pytest

from terraster.policy.breaker import CLOSED, HALF_OPEN, OPEN
from terraster.state.cells import (
    MASTERS,
    BackendCells,
    Header,
    LocationCells,
    MasterCells,
    Seat,
    SeatBackend,
    SeatBucket,
    SeatClient,
    SeatLocation,
)
from terraster.state.table import Table


def filled(table: Table, seat: int, rows: int) -> None:
    q = table.q
    q[table.seat(seat) + Seat.PID] = 4711
    q[table.seat(seat) + Seat.ACCEPTED] = 11
    for slot in range(rows):
        q[table.seat_backend(seat, slot) + SeatBackend.REQUESTS] = 5
        q[table.seat_backend(seat, slot) + SeatBackend.ACTIVE] = 3
        q[table.seat_location(seat, slot) + SeatLocation.BYTES_IN] = 7
        q[table.seat_location(seat, slot) + SeatLocation.BUCKET] = 1
    q[table.seat_location(seat, table.unrouted) + SeatLocation.BYTES_OUT] = 9


def test_a_retired_seat_is_empty_and_its_counters_are_kept() -> None:
    table = Table(300, 300, 4)
    for _ in range(2):
        filled(table, 2, 200)
        table.retire(2, range(300), range(300))
    assert not any(table.q[table.seat(2) : table.seat(3)])
    assert table.taken_seats() == []
    assert {table.backend_sum(slot, SeatBackend.REQUESTS) for slot in range(200)} == {10}
    assert {table.backend_sum(slot, SeatBackend.ACTIVE) for slot in range(200)} == {0}
    row = table.location_row(199)
    assert (row[SeatLocation.BYTES_IN], row[SeatLocation.BUCKET], sum(row)) == (14, 2, 16)
    assert table.location_sum(table.unrouted, SeatLocation.BYTES_OUT) == 18
    assert table.q[table.seat(0) + Seat.ACCEPTED] == 22
    assert table.q[table.master + MasterCells.RETIRING] % 2 == 0


def test_a_retired_seat_leaves_its_lost_lines_and_the_last_reason() -> None:
    table = Table(1, 1, 4)
    for seat, lost, at, why in ((1, 5, 2000, 28), (2, 7, 1000, 32), (3, 0, 0, 0)):
        base = table.seat(seat)
        table.q[base + Seat.PID] = 4711
        table.q[base + Seat.ACCESS_LINES_LOST], table.q[base + Seat.PROGRAM_LINES_LOST] = lost, 1
        table.q[base + Seat.LINE_LOST_AT], table.q[base + Seat.LINE_LOST_WHY] = at, why
        table.retire(seat, (), ())
    cells = table.q[table.seat(0) : table.seat(0) + Seat.CELLS].tolist()
    assert cells[Seat.ACCESS_LINES_LOST : Seat.LINE_LOST_WHY + 1] == [12, 3, 2000, 28]


def test_no_reader_sees_a_count_twice_or_misses_one() -> None:
    table = Table(2, 64, 3)
    child = os.fork()
    if not child:  # the master: a worker counts one request and dies, again and again, until it is told that it is enough
        turn = 0
        while not table.q[table.master + MasterCells.WORKERS]:
            turn += 1
            table.q[table.seat(1) + Seat.PID] = turn
            for slot in range(64):
                table.q[table.seat_location(1, slot) + SeatLocation.BYTES_IN] += 1
            table.retire(1, range(2), range(64))
        os._exit(0)
    last, seen = 0, set()
    try:
        while len(seen) < 200:
            now = table.location_sum(5, SeatLocation.BYTES_IN)
            row = table.location_row(5)[SeatLocation.BYTES_IN]
            assert last <= now <= row
            last = row
            seen.add(row)
    finally:
        table.q[table.master + MasterCells.WORKERS] = 1
        assert os.waitpid(child, 0)[1] == 0


def test_a_master_that_died_while_it_retired_a_seat_does_not_keep_readers_waiting_for_ever() -> None:
    table = Table(2, 2, 3)
    filled(table, 1, 2)
    table.q[table.master + MasterCells.RETIRING] = 1
    started = time.monotonic()
    for _ in range(100):
        assert table.location_sum(0, SeatLocation.BYTES_IN) == 7
    assert time.monotonic() - started < 5


def test_blocks_do_not_overlap() -> None:
    table = Table(3, 5, 9)
    q = table.q
    marks = [range(Header.CELLS)]
    for master in range(MASTERS):
        table.sit(master)
        marks.append(range(table.master, table.master + MasterCells.CELLS))
        marks += [range(table.backend(slot), table.backend(slot) + BackendCells.CELLS) for slot in range(3)]
        marks += [range(table.location(slot), table.location(slot) + LocationCells.CELLS) for slot in range(5)]
    for seat in (*(table.master_seat(master) for master in range(MASTERS)), *range(1, 9)):
        marks.append(range(table.seat(seat), table.seat(seat) + Seat.CELLS))
        marks += [range(at := table.seat_backend(seat, slot), at + SeatBackend.CELLS) for slot in range(3)]
        marks += [range(at := table.seat_location(seat, slot), at + SeatLocation.CELLS) for slot in range(6)]
        marks.append(range(at := table.seat_clients(seat), at + table.client_sets * SeatClient.CELLS))
        marks.append(range(table.seat_until(seat), table.seat_until(seat) + 1))
        marks.append(range(at := table.seat_buckets(seat), at + table.bucket_sets * SeatBucket.CELLS))
    cells = [cell for block in marks for cell in block]
    assert len(set(cells)) == len(cells) and max(cells) < len(q)
    assert sorted(seat for master in range(MASTERS) for seat in table.seats_of(master)) == list(range(1, 9))


def test_memory_is_taken_only_where_something_was_touched() -> None:
    table = Table(65_536, 32_768, 257)
    filled(table, 1, 20)
    assert table.taken_seats() == [1] and table.backend_sum(3, SeatBackend.REQUESTS) == 5
    used = os.fstat(table.descriptor).st_blocks * 512
    assert used < 300_000
    table.retire(1, range(20), range(20))
    assert table.location_row(3)[SeatLocation.BYTES_IN] == 7
    assert os.fstat(table.descriptor).st_blocks * 512 <= used + 60_000


def test_a_look_at_untouched_rows_takes_no_memory() -> None:
    table = Table(65_536, 32_768, 257)
    filled(table, 2, 600)
    used = os.fstat(table.descriptor).st_blocks
    first, behind = table.seat_backend(2, 0), table.seat_backend(2, 40_000)
    assert not table.is_untouched(first, SeatBackend.CELLS)
    assert table.is_untouched(behind, SeatBackend.CELLS)
    assert table.is_untouched(len(table.q) - 1, 1), "nothing behind the last cells is touched, and it says so in another way"
    assert table.column(first + SeatBackend.REQUESTS, 50_000, SeatBackend.CELLS) == [5] * 600 + [0] * 49_400
    assert table.column(first + SeatBackend.REQUESTS, 600, SeatBackend.CELLS) == [5] * 600
    assert table.column(first, 0, SeatBackend.CELLS) == []
    for slot in (3, 40_000):
        table.forget_backend(2, slot)
    assert not any(table.q[table.seat_backend(2, 3) : table.seat_backend(2, 4)]), "a touched row is emptied"
    behind_the_last = 2 * 256 * SeatBackend.CELLS * 8  # rows are looked at in parts, and a part with a used row is read whole
    assert os.fstat(table.descriptor).st_blocks <= used + behind_the_last // 512
    table.q[behind + SeatBackend.REQUESTS] = 1
    assert not table.is_untouched(behind, SeatBackend.CELLS)
    assert table.column(first + SeatBackend.REQUESTS, 50_000, SeatBackend.CELLS)[40_000] == 1


def test_a_kernel_that_does_not_know_holes_gets_every_row_read(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(300, 300, 4)
    filled(table, 1, 3)

    def refused(*_: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "lseek", refused)
    assert not table.is_untouched(table.seat_backend(2, 200), 1)
    assert table.column(table.seat_backend(1, 0) + SeatBackend.REQUESTS, 5, SeatBackend.CELLS) == [5, 5, 5, 0, 0]
    table.retire(1, range(300), range(300))
    assert table.backend_sum(2, SeatBackend.REQUESTS) == 5


def test_a_core_dump_leaves_the_table_out() -> None:
    table = Table(8, 8, 9)
    with open("/proc/self/smaps") as maps:
        found = [block for block in maps.read().split("Name: ") if "memfd:terraster" in block]
    flags = found[-1].partition("memfd:terraster")[2].partition("VmFlags:")[2].splitlines()[0].split()
    assert "dd" in flags
    del table


def test_a_table_is_adopted_with_its_counters_and_a_place_of_its_own() -> None:
    first = Table(8, 8, 17)
    filled(first, 1, 8)
    first.q[first.backend(3) + BackendCells.PROBES] = 4
    first.q[first.backend(3) + BackendCells.STATE] = BackendCells.UP
    first.q[first.master + MasterCells.RELOADS] = 2
    second = Table.adopt(os.dup(first.descriptor))
    second.sit(1)
    filled(second, second.seats_of(1)[0], 8)
    second.q[second.backend(3) + BackendCells.PROBES] = 1
    second.q[second.master + MasterCells.RELOADS] = 1
    for table in (first, second):
        assert table.backend_sum(3, SeatBackend.REQUESTS) == 10
        assert table.master_counts(3)[BackendCells.PROBES] == table.backend_counters(3)[-4] == 5
        assert table.master_cells()[MasterCells.RELOADS] == 3
    assert second.master_counts(3)[BackendCells.STATE] == BackendCells.DOWN
    first.retire(1, range(8), range(8))
    assert second.backend_sum(3, SeatBackend.REQUESTS) == 10
    assert not set(first.seats_of(0)) & set(second.seats_of(1))


def test_a_table_with_other_counters_of_filters_is_not_adopted() -> None:
    """A version that has one counter more, or the same in another order, would take the counts of one for those of another."""
    table = Table(4, 4, 2, ("a.refused", "b.passed"))
    assert Table.adopt(os.dup(table.descriptor), ("a.refused", "b.passed")).seats == 2
    for others in ((), ("a.refused",), ("b.passed", "a.refused"), ("a.refused", "b.passed", "c.sent")):
        with pytest.raises(ValueError, match="its cells mean something else"):
            Table.adopt(table.descriptor, others)


def test_a_table_that_is_not_understood_is_not_adopted() -> None:
    table = Table(8, 8, 9)
    for cell, what in ((Header.FINGERPRINT, "mean something else"), (Header.BACKENDS, "size"), (Header.MAGIC, "not a table")):
        known = table.q[cell]
        table.q[cell] = known + 1000
        with pytest.raises(ValueError, match=what):
            Table.adopt(table.descriptor)
        table.q[cell] = known
    with open("/dev/null", "rb") as empty, pytest.raises(ValueError, match="not a table"):
        Table.adopt(empty.fileno())


def test_names_of_cells_stand_in_the_order_of_their_numbers() -> None:
    assert [
        BackendCells.ADMITS[cell] for cell in (BackendCells.NONE, BackendCells.ALL, BackendCells.TRIAL, BackendCells.RAMPING)
    ] == [
        "none",
        "all",
        "trial",
        "ramping",
    ]
    assert [BackendCells.CIRCUITS[cell] for cell in (CLOSED, OPEN, HALF_OPEN)] == ["closed", "open", "half-open"]


def test_a_glimpse_follows_the_table_and_changes_nothing_in_it() -> None:
    """What it writes, it alone reads; a page to which it wrote nothing shows what others write, later as well."""
    table = Table(300, 300, 4)
    table.q[table.backend(3)] = 7
    glimpse = table.glimpse()
    assert (glimpse.q[glimpse.backend(3)], glimpse.own, glimpse.master) == (7, table.own, table.master)
    table.q[table.backend(3)] = 8
    assert glimpse.q[glimpse.backend(3)] == 8
    glimpse.q[glimpse.backend(3)] = 9
    glimpse.q[glimpse.seat_location(0, 299)] = 9
    assert not glimpse.is_untouched(glimpse.seat_location(0, 299), 1), "the file has a hole there"
    glimpse.forget_location(0, 299)
    assert not glimpse.q[glimpse.seat_location(0, 299)]
    assert (glimpse.q[glimpse.backend(3)], table.q[table.backend(3)]) == (9, 8)
    at = table.seat_backend(1, 5)
    table.q[at] = 1
    assert glimpse.q[at] == 1
    assert table.glimpse().q[table.backend(3)] == 8
