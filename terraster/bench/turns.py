"""Whose turn it is: decides when the next request may be sent, and when the load is over. Pure: the clock is an argument."""

from __future__ import annotations

from math import inf

from .load import Load
from .schedule import Schedule

__all__ = ["ClosedTurns", "OpenTurns", "Turns"]


class Turns:
    """The requests of one share of a load.

    since: monotonic time from which requests count, inf before `begin`. until: monotonic time from which none is sent, inf: no limit
    left:  requests that count and may still be sent
    """

    __slots__ = ("left", "since", "until", "_load")

    def __init__(self, load: Load) -> None:
        self._load = load
        self.since = self.until = inf
        self.left: float = load.requests or inf

    def begin(self, now: float) -> None:
        """The load starts at this monotonic time, with its warm-up."""
        self.since = now + self._load.warm_up
        self.until = self.since + self._load.seconds if self._load.seconds else inf

    def stop(self, now: float) -> None:
        """Send none from now on."""
        self.until = min(self.until, now)

    def take(self, now: float) -> float:
        """When the next request was due, at most ``now``: it is taken, and must be sent. A later time: no request is due before then, and none
        was taken; inf: there is none to come."""
        raise NotImplementedError

    def untaken(self) -> int:
        """Requests that count, were due before `until`, and have not been taken. Called once the load was stopped."""
        raise NotImplementedError

    def seconds(self, now: float, last: float) -> float:
        """How long the share took, once it is over. now: its end. last: when the last request ended that counts. Both are monotonic times."""
        raise NotImplementedError


class ClosedTurns(Turns):
    """Each connection sends its next request when it has the answer to the last one."""

    __slots__ = ()

    def take(self, now: float) -> float:
        """See `Turns.take`."""
        if now >= self.until or self.left <= 0:
            return inf
        if now >= self.since:
            self.left -= 1
        return now

    def untaken(self) -> int:
        """See `Turns.untaken`."""
        return 0

    def seconds(self, now: float, last: float) -> float:
        """See `Turns.seconds`."""
        return max(0.0, (self.until if now >= self.until else last) - self.since)


class OpenTurns(Turns):
    """Requests are due by a schedule. One that is not sent in time stays due, and is the next."""

    __slots__ = ("_begun", "_last", "_schedule")

    def __init__(self, load: Load) -> None:
        super().__init__(load)
        self._begun = 0.0
        self._last = 0.0  # when the last request that counts was due
        self._schedule = Schedule(load)

    def begin(self, now: float) -> None:
        """See `Turns.begin`."""
        super().begin(now)
        self._begun = now

    def take(self, now: float) -> float:
        """See `Turns.take`. Requests that were due before the end of the load are sent behind it if they have to be."""
        due = self._begun + self._schedule.due
        if due >= self.until or self.left <= 0:
            return inf
        if due <= now:
            if due >= self.since:
                self.left -= 1
                self._last = due
            self._schedule.advance()
        return due

    def untaken(self) -> int:
        """See `Turns.untaken`."""
        if self.until <= self.since:
            return 0
        early = self._schedule.before(self.since - self._begun)
        return int(min(self._schedule.before(self.until - self._begun) - early, self.left))

    def seconds(self, now: float, last: float) -> float:
        """See `Turns.seconds`. The time of the last request lasts until the next one would be due: 5 requests at 10 a second take 0.5 s."""
        end = self.until if self.left > 0 else min(self.until, max(last, self._last + self._schedule.gap))
        return max(0.0, end - self.since)
