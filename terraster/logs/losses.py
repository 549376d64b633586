"""Log lines that were lost, counted for one log of one process, and published in its seat of the shared table."""

from __future__ import annotations

from ..state.cells import Seat

__all__ = ["Losses"]


class Losses:
    """lines: lines lost so far. why: errno of the last loss; 0 if the reader was too slow, or if nothing was lost."""

    __slots__ = ("lines", "why", "_published")

    def __init__(self) -> None:
        self.lines = 0
        self.why = 0
        self._published = 0

    def add(self, lines: int, why: int) -> None:
        """Count lines that nobody will read."""
        self.lines += lines
        self.why = why

    def publish(self, q: memoryview, seat: int, cell: int, wall: float) -> None:
        """Add what was lost since the last call to a cell of the seat whose first cell is ``seat``. Called by the seat's writer.

        q: the table's cells. cell: of `Seat`. wall: seconds since 1970
        """
        lost = self.lines - self._published
        if lost:
            self._published = self.lines
            q[seat + cell] += lost
            q[seat + Seat.LINE_LOST_AT] = int(wall * 1e9)
            q[seat + Seat.LINE_LOST_WHY] = self.why

    def reset(self) -> None:
        """Called after a fork in the child: what the parent lost is counted by the parent."""
        self.lines = self.why = self._published = 0
