"""How many octets a call gets that keeps a worker waiting, learnt from the time that such calls took."""

from __future__ import annotations

__all__ = ["LEAST", "MOST", "Pace"]

LEAST = 1024
"""Octets that a call always gets. A call costs some microseconds however little it gets."""

MOST = 65536
"""Octets that a call gets at most, however fast it is."""

_LONG = 0.0003
"""Seconds after which a call was too long."""

_SHORT = 0.0001
"""Seconds within which a call with a full piece may get twice as much."""


class Pace:
    """The size of pieces for one kind of calls in one process.

    A call of twice `_LONG` is halved at the next one, so calls stay below 0.6 ms once their pace is known. On another machine, or for
    other data, the size changes with the time that calls take.

    piece: octets for the next call
    """

    __slots__ = ("piece",)

    def __init__(self, piece: int) -> None:
        """piece: octets to begin with"""
        self.piece = piece

    def took(self, octets: int, seconds: float) -> None:
        """Learn how long a call took that got so many octets."""
        if seconds > _LONG:
            if octets > LEAST:
                self.piece = max(LEAST, min(self.piece, octets) // 2)
        elif seconds < _SHORT and octets >= self.piece:
            self.piece = min(MOST, self.piece * 2)
