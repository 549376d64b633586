"""The view that one process has of the shared table: its own seat, and everybody's.

Compiled plans are made in the master and inherited by its children, so they cannot hold indices into a seat: they hold offsets, and
reach their seat through the one `SeatView` of the process. A child sits down (`SeatView.sit`) right after the fork.
"""

from __future__ import annotations

from .table import SeatBackend, SeatLocation, Table

__all__ = ["SeatView"]


class SeatView:
    """Where this process writes, and where it reads what others wrote.

    q:         the table's cells
    seat:      the seat's number (0: the master, which counts nothing)
    base:      index of the seat's first cell (add a `Seat` constant)
    backends:  index of the seat's first backend row; a backend's row is ``backends + slot * SeatBackend.CELLS``
    locations: index of the seat's first location row; a location's row is ``locations + slot * SeatLocation.CELLS``
    seats: the seats that are taken, own seat included; refreshed by `look_around`
    all_backends, all_locations: the same as ``backends`` and ``locations`` for each of them
    desperate: this pick is the last resort: whoever starts slowly may be taken before its turn
    backend_leases, location_leases: slot → serial number of the lease that this process's cells belong to
    """

    __slots__ = (
        "table",
        "q",
        "seat",
        "base",
        "backends",
        "locations",
        "seats",
        "all_backends",
        "all_locations",
        "desperate",
        "backend_leases",
        "location_leases",
    )

    def __init__(self, table: Table) -> None:
        self.table = table
        self.q = table.q
        self.desperate = False
        self.backend_leases: dict[int, int] = {}
        self.location_leases: dict[int, int] = {}
        self.sit(0)

    def sit(self, seat: int) -> None:
        """Make this process the writer of ``seat``. Once, right after the fork."""
        self.seat = seat
        self.base = self.table.seat(seat)
        self.backends = self.table.seat_backend(seat, 0)
        self.locations = self.table.seat_location(seat, 0)
        self.look_around()

    def look_around(self) -> None:
        """Learn which seats are taken. Called when a worker came or went (and a few times a second, to be safe)."""
        self.seats = tuple(sorted({self.seat, *self.table.taken_seats()}))
        self.all_backends = tuple(self.table.seat_backend(seat, 0) for seat in self.seats)
        self.all_locations = tuple(self.table.seat_location(seat, 0) for seat in self.seats)

    def active(self, slot: int) -> int:
        """Requests in flight at a backend, over all seats. Units: requests."""
        q = self.q
        offset = slot * SeatBackend.CELLS + SeatBackend.ACTIVE
        total = 0
        for base in self.all_backends:
            total += q[base + offset]
        return total

    def location_row(self, slot: int) -> int:
        """Index of a location's first cell in the own seat."""
        return self.locations + slot * SeatLocation.CELLS
