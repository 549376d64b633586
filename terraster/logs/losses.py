"""Log lines that were lost, counted for one log of one process."""

from __future__ import annotations

__all__ = ["Losses"]


class Losses:
    """lines: lines lost so far. why: errno of the last loss; 0 if the reader was too slow, or if nothing was lost."""

    __slots__ = ("lines", "why")

    def __init__(self) -> None:
        self.lines = 0
        self.why = 0

    def add(self, lines: int, why: int) -> None:
        """Count lines that nobody will read."""
        self.lines += lines
        self.why = why
