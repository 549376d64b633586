"""Where everything is in a shared table of given capacities."""

from __future__ import annotations

import mmap

from .cells import (
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

__all__ = ["Layout", "size"]


class Layout:
    """Where everything is in a table with these capacities. Indices and sizes in cells."""

    __slots__ = (
        "seats",
        "masters",
        "master_cells",
        "locations",
        "rows",
        "row_cells",
        "row_locations",
        "row_clients",
        "places",
        "until",
        "buckets",
        "bucket_cells",
        "bucket_sets",
        "client_sets",
        "cells",
    )

    def __init__(self, backends: int, locations: int, seats: int) -> None:
        self.seats = Header.CELLS
        self.masters = _page(self.seats + (MASTERS + seats) * Seat.CELLS)
        self.locations = MasterCells.CELLS + backends * BackendCells.CELLS
        self.master_cells = _page(self.locations + locations * LocationCells.CELLS)
        self.rows = self.masters + MASTERS * self.master_cells
        self.row_locations = backends * SeatBackend.CELLS
        self.row_clients = self.row_locations + (locations + 1) * SeatLocation.CELLS
        self.client_sets = min(SeatClient.SETS, _sets(locations))
        self.row_cells = _page(self.row_clients + self.client_sets * SeatClient.CELLS)
        self.places = MASTERS + seats
        self.until = self.rows + self.places * self.row_cells
        self.buckets = self.until + _page(self.places)
        self.bucket_sets = min(SeatBucket.SETS, _sets(locations))
        self.bucket_cells = _page(self.bucket_sets * SeatBucket.CELLS)
        self.cells = self.buckets + self.places * self.bucket_cells


def _sets(locations: int) -> int:
    """Sets of clients in a table with room for so many locations: a power of two, and about as much address space."""
    return max(256, 1 << locations.bit_length() - 1 >> 2)


def _page(cells: int) -> int:
    """The same number of cells, rounded up to whole pages."""
    page = mmap.PAGESIZE // 8
    return -(-cells // page) * page


def size(backends: int, locations: int, seats: int) -> int:
    """Octets of address space that a table with these capacities takes."""
    return Layout(backends, locations, seats).cells * 8
