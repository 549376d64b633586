"""The idle timeout of a backend, learnt from the moments when it closes connections.

A request that is sent while the backend closes meets a closed connection. Many proxies fail there, and no proxy can be sure of a
request that must not be sent twice. So a connection that is about to be closed is not used again. Backends do not announce their timeout,
but they close again and again. Three closes at about the same age, each at another moment, are taken for the timeout (a backend that
restarts closes all of its connections together, whatever their age). A connection that stays open for clearly longer proves it wrong.
"""

from __future__ import annotations

__all__ = ["KeepAlive"]

_EVIDENCE = 3
_ALIKE = 1.25  # ages that differ by no more than this are one timeout: servers look at their clocks now and then only
_MOMENT = 0.2  # seconds within which closes are one event
_SHORTEST = 0.1  # seconds; a backend that closes sooner does not keep connections at all


class KeepAlive:
    """The timeout of one backend as one worker knows it. seconds: the timeout, 0.0 while it is not known. usable: the age in seconds up to
    which a connection may be used again, ``inf`` while nothing is known."""

    __slots__ = ("seconds", "usable", "_ages", "_at")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.usable = float("inf")
        self._ages: list[float] = []
        self._at = -1.0

    def closed(self, age: float, now: float) -> None:
        """The backend closed a connection that was idle for ``age`` seconds. now: monotonic time."""
        if now - self._at < _MOMENT:
            self._at = now
            return
        self._at = now
        if age < _SHORTEST:
            return
        self._ages = [*self._ages[1 - _EVIDENCE :], age]
        least = min(self._ages)
        if len(self._ages) == _EVIDENCE and max(self._ages) <= least * _ALIKE:
            self.seconds = least
            self.usable = least - min(max(0.1 * least, 0.1), 0.5 * least)

    def survived(self, age: float) -> None:
        """A connection has been idle for so long and is still open."""
        if self.seconds and age > self.seconds * _ALIKE + _MOMENT:
            self.seconds = 0.0
            self.usable = float("inf")
            self._ages = []
