"""Columns of the shared table: one cell of many slots at once, summed over the seats.

A column is one large integer that holds a number of 64 bits for each row, that of the first row in the lowest bits. Cells are octets of the
table already, so that an integer of some hundred cells is made by one copy, two seats are added by one addition, and so are the buckets of a
cumulative histogram. No sum reaches 2**64. For 512 backends a column costs 5 µs a seat, where lists took 19 µs. An admin worker of 10,000
services reads a million sums for a scrape.

Only for machines whose integers have their lowest octet first, as x86_64 and aarch64.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from ..state.cells import BackendCells, LocationCells, SeatBackend, SeatLocation
from ..state.table import Table
from . import readings

__all__ = ["WIDTH", "BackendRows", "LocationRows", "Rows", "Run", "numbers", "packed"]

Run = tuple[int, int]
"""(the first slot, number of slots)"""

WIDTH = 8  # octets of a number


def numbers(column: int, count: int) -> list[int]:
    """The numbers of a column of so many rows."""
    return memoryview(column.to_bytes(WIDTH * count, "little")).cast("Q").tolist() if column else [0] * count


def packed(values: Sequence[int]) -> int:
    """The column of these numbers."""
    return int.from_bytes(array("Q", values).tobytes(), "little")


class Rows:
    """The rows of one kind of slots, in all seats and in the part of the masters. The two kinds derive from it."""

    __slots__ = ("_table",)

    cells: int
    """Cells of a row in a seat."""
    own_cells: int
    """Cells of a row of a master."""
    own_counters: tuple[int, ...]
    """Those that are counters: all masters together have a total."""
    lease: int
    """The cell of a master's row that is another number when the slot has another owner."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def in_seat(self, seat: int, slot: int) -> int:
        """Index of a row's first cell in a seat."""
        raise NotImplementedError

    def in_master(self, master: int, slot: int) -> int:
        """Index of a row's first cell of a master."""
        raise NotImplementedError

    def sums(self, runs: Sequence[Run], cells: Sequence[int]) -> list[int]:
        """The column of each of these cells, over the seats that count requests."""
        return self._table.consistent(lambda: self._sums(runs, cells))

    def _sums(self, runs: Sequence[Run], cells: Sequence[int]) -> list[int]:
        starts = readings.proxy_seats(self._table)
        found, low = [0] * len(cells), 0
        for first, count in runs:
            for seat in starts:
                self._add(found, self.in_seat(seat, first), count, self.cells, cells, low)
            low += 8 * WIDTH * count
        return found

    def owned(self, runs: Sequence[Run], cell: int) -> int:
        """The column of a cell of this process's master; a counter's is the sum over all masters."""
        return self._table.consistent(lambda: self._owned(runs, cell))

    def _owned(self, runs: Sequence[Run], cell: int) -> int:
        own, *others = self._table.masters()
        found, low = [0], 0
        for first, count in runs:
            for master in (own, *others) if cell in self.own_counters else (own,):
                self._add(found, self.in_master(master, first), count, self.own_cells, (cell,), low)
            low += 8 * WIDTH * count
        return found[0]

    def leases(self, runs: Sequence[Run]) -> int:
        """The column that tells whether these slots still have the same owners."""
        return self._owned(runs, self.lease)

    def _add(self, found: list[int], at: int, count: int, step: int, cells: Sequence[int], low: int) -> None:
        """Add each of these cells of ``count`` rows, which begin at ``at`` and are ``step`` cells long."""
        if self._table.is_untouched(at, count * step):
            return
        q, end, nothing = self._table.q, at + count * step, bytes(WIDTH * count)
        for number, cell in enumerate(cells):
            octets = q[at + cell : end : step].tobytes()
            if octets != nothing:
                found[number] += int.from_bytes(octets, "little") << low

    def used(self, slots: Sequence[int]) -> list[bool]:
        """For each of these slots, True if a seat has counted anything in its row."""
        q, nothing = self._table.q, bytes(WIDTH * self.cells)
        found = [False] * len(slots)
        for seat in readings.proxy_seats(self._table):
            for number, slot in enumerate(slots):
                if not found[number]:
                    at = self.in_seat(seat, slot)
                    found[number] = not self._table.is_untouched(at, self.cells) and q[at : at + self.cells].tobytes() != nothing
        return found


class BackendRows(Rows):
    """The rows of backends: `SeatBackend` and `BackendCells`."""

    __slots__ = ()

    cells, own_cells, own_counters, lease = SeatBackend.CELLS, BackendCells.CELLS, BackendCells.COUNTERS, BackendCells.LEASE

    def in_seat(self, seat: int, slot: int) -> int:
        return self._table.seat_backend(seat, slot)

    def in_master(self, master: int, slot: int) -> int:
        return self._table.backend_of(master, slot)


class LocationRows(Rows):
    """The rows of locations: `SeatLocation` and `LocationCells`."""

    __slots__ = ()

    cells, own_cells, own_counters, lease = SeatLocation.CELLS, LocationCells.CELLS, (), LocationCells.LEASE

    def in_seat(self, seat: int, slot: int) -> int:
        return self._table.seat_location(seat, slot)

    def in_master(self, master: int, slot: int) -> int:
        return self._table.location(slot)  # nobody asks for those of other masters: no cell is a counter
