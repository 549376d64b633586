"""The least rate of a client, judged while the client is waited for.

Time counts only between two looks that both found the client waited for. A backend that takes its time, or that does not take the octets of
the client, is not the client's fault. The rate is judged in windows of a grace each, so that a client that was fast at first cannot go on at
one octet a minute.
"""

from __future__ import annotations

__all__ = ["LeastRate"]


class LeastRate:
    """One direction of one request."""

    __slots__ = ("_grace", "_least", "_octets", "_waited", "_waits")

    def __init__(self, least: int, grace: float) -> None:
        """least: octets per second, more than 0. grace: seconds of waiting after which it is judged."""
        self._grace = grace
        self._least = least
        self._octets = -1  # that had passed when the window began
        self._waited = 0.0
        self._waits = False

    def rest(self) -> None:
        """The client is not waited for now."""
        self._waits = False

    def is_too_slow(self, octets: int, elapsed: float) -> bool:
        """The client is waited for now: True if it was too slow over the last grace. octets: that have passed since some beginning.
        elapsed: seconds since the last look."""
        if self._octets < 0:
            self._octets = octets
        if not self._waits:
            self._waits = True
            return False
        self._waited += elapsed
        if self._waited < self._grace:
            return False
        slow = octets - self._octets < self._least * self._waited
        self._octets = octets
        self._waited = 0.0
        return slow
