"""Workers as the shared table knows them: seats that are taken, without the processes."""

from __future__ import annotations

from terraster.state.cells import Seat
from terraster.state.table import Table
from terraster.state.view import SeatView

__all__ = ["seated"]


def seated(table: Table, count: int) -> list[SeatView]:
    """The views of workers in the seats 1 to ``count``, each of which knows of the others."""
    for seat in range(1, count + 1):
        table.q[table.seat(seat) + Seat.PID] = seat
    views = [SeatView(table) for _ in range(count)]
    for seat, view in enumerate(views, 1):
        view.sit(seat)
    return views
