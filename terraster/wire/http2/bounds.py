"""The bounds of HTTP/2: how often a peer may do what costs us more than it.

Each kind of frame that costs more to answer than to send has a `Bound` of its own. A bound is a bucket that leaks: it holds a burst, and
what it holds leaks away at a steady rate. So a connection that lives for days is not ended for what it did in all that time, and a flood
ends within its burst. A peer that exceeds a bound gets GOAWAY with ENHANCE_YOUR_CALM (RFC 9113, section 10.5).
"""

from __future__ import annotations

from .frames import ENHANCE_YOUR_CALM, ConnectionFault
from .limits import Limits

__all__ = ["BOUNDS", "Bound", "Bounds", "exceeded"]

BOUNDS = {
    "resets": (0.0, 0.0, "streams that the peer reset, or made us reset"),
    "refused": (100.0, 1000.0, "streams above the limit of concurrent streams"),
    "continuations": (0.0, 32.0, "CONTINUATION frames of one block, or octets of it"),
    "oversized": (10.0, 100.0, "lists of fields above their limit"),
    "settings": (10.0, 100.0, "SETTINGS frames, or settings in one of them"),
    "pings": (100.0, 1000.0, "PING frames"),
    "priorities": (100.0, 1000.0, "PRIORITY and PRIORITY_UPDATE frames"),
    "empty_data": (50.0, 500.0, "DATA frames without octets"),
    "window_updates": (100.0, 1000.0, "WINDOW_UPDATE frames that no DATA of ours explains"),
    "ignored": (100.0, 1000.0, "frames that have no effect"),
}
"""Each bound by its name: how many leak away in a second, how many it holds, and what it counts. A name is `Session.exceeded` once its
bound was exceeded. The rate of ``resets`` is `Limits.resets_per_second`, and they may be
three times as many at once. ``continuations`` is for one block, so nothing of it leaks away."""


class Bound:
    """How often something may happen: ``rate`` times a second in the long run, ``most`` times at once."""

    __slots__ = ("name", "rate", "most", "_level", "_at")

    def __init__(self, name: str, rate: float, most: float) -> None:
        self.name = name
        self.rate = rate
        self.most = most
        self._level = 0.0
        self._at = 0.0

    def count(self, now: float) -> None:
        """It happened once more. now: seconds of any clock that never goes back. Raises `ConnectionFault`."""
        level = self._level - (now - self._at) * self.rate
        self._at = now
        self._level = level = level + 1.0 if level > 0.0 else 1.0
        if level > self.most:
            raise exceeded(self.name)

    def forgive(self) -> None:
        """One of those that were counted was made good."""
        if self._level >= 1.0:
            self._level -= 1.0


class Bounds(dict[str, Bound]):
    """The bounds of one connection by their names. One is made when it counts for the first time: most connections need few."""

    __slots__ = ("_resets",)

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._resets = limits.resets_per_second

    def __missing__(self, name: str) -> Bound:
        rate, most, _ = BOUNDS[name]
        if name == "resets":
            rate, most = self._resets, 3 * self._resets
        bound = self[name] = Bound(name, rate, most)
        return bound


def exceeded(name: str) -> ConnectionFault:
    """The fault of a peer that exceeded the bound of this name."""
    return ConnectionFault(ENHANCE_YOUR_CALM, f"too many {BOUNDS[name][2]}", name)
