"""One process's view of the shared table: its own seat and the seats of all others.

The master compiles plans and its children inherit them, so a plan cannot hold indices into a seat. It holds offsets and reaches its
seat through the one `SeatView` of the process. A child takes its seat (`SeatView.sit`) right after the fork.
"""

from __future__ import annotations

import time

from .cells import CHANGES, SeatBackend, SeatLocation
from .table import Table

__all__ = ["SeatView"]


class SeatView:
    """The cells that this process writes, and those of others that it reads.

    q, cells:  the table's cells; ``cells`` is for compiled rooms only, which reach memory by it without an object
    seat:      the seat's number (0: the master, which counts nothing)
    base:      index of the seat's first cell (add a `Seat` constant)
    backends:  index of the seat's first backend row; a backend's row is ``backends + slot * SeatBackend.CELLS``
    locations: index of the seat's first location row; a location's row is ``locations + slot * SeatLocation.CELLS``
    seats:     the taken seats, the process's own included; `refresh` refreshes them
    bases:     the same as ``base``, for each taken seat
    all_backends, all_locations: the same as ``backends`` and ``locations``, for each taken seat
    until:     index of the cell that says until when this seat's buckets count (`Table.seat_until`)
    buckets, clients: index of the seat's first set of buckets, and of clients (`SeatBucket`, `SeatClient`)
    all_buckets: the same as ``buckets`` and ``until``, for each proxy worker and each seat whose process has ended but whose buckets count
    all_clients: the same as ``clients``, for each taken seat
    kept_backends: the same as ``backends`` for the seats of masters, where the counts of the dead are
    changes:   index of the cell in which the process's master counts changes of backends (`CHANGES`)
    doubts:    how often this process had another reason to look again at which backends it may use
    backend_leases, location_leases: slot → serial number of the lease that this process's cells belong to
    """

    __slots__ = (
        "table",
        "q",
        "cells",
        "seat",
        "base",
        "backends",
        "locations",
        "seats",
        "bases",
        "all_backends",
        "all_locations",
        "kept_backends",
        "until",
        "buckets",
        "clients",
        "all_buckets",
        "all_clients",
        "changes",
        "doubts",
        "backend_leases",
        "location_leases",
    )

    def __init__(self, table: Table) -> None:
        self.table = table
        self.q = self.cells = table.q
        self.backend_leases: dict[int, int] = {}
        self.location_leases: dict[int, int] = {}
        self.doubts = 0
        self.sit(0)

    def sit(self, seat: int) -> None:
        """Make this process the writer of ``seat``. Called once, right after the fork."""
        self.seat = seat
        self.base = self.table.seat(seat)
        self.backends = self.table.seat_backend(seat, 0)
        self.locations = self.table.seat_location(seat, 0)
        self.until = self.table.seat_until(seat)
        self.buckets = self.table.seat_buckets(seat)
        self.clients = self.table.seat_clients(seat)
        self.changes = self.table.master + CHANGES
        self.refresh()

    def refresh(self) -> None:
        """Learn which seats are taken. Called when a worker starts or ends, and once a second as a safeguard."""
        self.seats = tuple(sorted({self.seat, *self.table.taken_seats()}))
        self.bases = tuple(self.table.seat(seat) for seat in self.seats)
        self.all_backends = tuple(self.table.seat_backend(seat, 0) for seat in self.seats)
        self.all_locations = tuple(self.table.seat_location(seat, 0) for seat in self.seats)
        masters = (self.table.master_seat(master) for master in self.table.masters())
        self.all_clients = tuple(self.table.seat_clients(seat) for seat in self.seats)
        living, left = self.table.counting_buckets(time.monotonic_ns())
        self.all_buckets = ((self.buckets, self.until), *[one for one in (*living, *left) if one[0] != self.buckets])
        self.kept_backends = tuple(self.table.seat_backend(seat, 0) for seat in masters)
        self.doubts += 1

    def active(self, slot: int) -> int:
        """The number of requests in flight at a backend, over all seats."""
        q = self.q
        offset = slot * SeatBackend.CELLS + SeatBackend.ACTIVE
        total = 0
        for base in self.all_backends:
            total += q[base + offset]
        return total

    def location_row(self, slot: int) -> int:
        """Index of a location's first cell in this process's seat."""
        return self.locations + slot * SeatLocation.CELLS
