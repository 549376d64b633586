"""The lines of a tail (`terrasterctl tail`): a summary of each request that is over, sent to the admin worker while an operator listens.

A worker that nobody listens to does nothing here. One that is asked sends for `LEASE` seconds, unless it is asked again meanwhile; so a tail
ends by itself when those who listened have gone, also with the admin worker. A busy worker sends only the requests that one of them wants.

Nothing waits: at most `MOST` lines are kept from one turn to the next, of targets with at most `MOST_OCTETS`, because masks cost time. The
others, and those that the socket does not take, are lost and counted.
"""

from __future__ import annotations

import marshal
import os
from typing import Any

from ..exchange import Exchange
from .log_channel import MESSAGE
from .summary import LONGEST, Summaries

__all__ = ["LEASE", "MOST", "MOST_OCTETS", "Tail", "Wanted"]

LEASE = 3.0
MOST, MOST_OCTETS = 500, 50_000


class Wanted:
    """The requests that one listener wants. service: its name, "": all. least, most: of the status. path: its beginning, "": all"""

    __slots__ = ("least", "most", "path", "service")

    def __init__(self, service: str = "", least: int = 0, most: int = 999, path: str = "") -> None:
        self.service = service
        self.least = least
        self.most = most
        self.path = path

    def values(self) -> list[Any]:
        """The arguments of the same one elsewhere, as JSON values."""
        return [self.service, self.least, self.most, self.path]

    def takes(self, service: str, status: int, target: str) -> bool:
        """True if it wants a request of this service, with this status and target."""
        return self.service in ("", service) and self.least <= status <= self.most and target.startswith(self.path)


class Tail:
    """Those of one worker.

    channel: the descriptor of the workers' side of the channel; -1: there is none, and all lines are lost
    """

    __slots__ = ("_channel", "_lines", "_lost", "_octets", "_summaries", "_until", "_wanted")

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self._summaries = Summaries()
        self._wanted: list[Wanted] = []
        self._until = 0.0
        self._lines: list[tuple[Any, ...]] = []
        self._lost = self._octets = 0

    def ask(self, wanted: list[Wanted], now: float) -> int:
        """Send what these listeners want, until `LEASE` seconds after ``now`` (monotonic). [] ends it. Returns how many lines were lost since
        the last call."""
        self._wanted = wanted
        self._until = now + LEASE
        lost, self._lost = self._lost, 0
        return lost

    def listens(self, now: float) -> bool:
        """True if lines are wanted. now: monotonic seconds"""
        return bool(self._wanted) and now < self._until

    def take(self, exchange: Exchange) -> None:
        """A request is over."""
        service = "" if exchange.service is None else exchange.service.name
        target = exchange.target.decode("utf-8", "backslashreplace")
        for one in self._wanted:
            if one.takes(service, exchange.status, target):
                self._octets += min(len(target), LONGEST)
                if len(self._lines) < MOST and self._octets <= MOST_OCTETS:
                    self._lines.append(self._summaries.of(exchange))
                else:
                    self._lost += 1
                return

    def flush(self) -> None:
        """Send what is kept. Called a few times a second; never waits."""
        lines, self._lines = self._lines, []
        self._octets = 0
        while lines:
            several = max(1, min(len(lines), len(lines) * MESSAGE // (len(marshal.dumps(lines)) + 1)))
            try:
                os.write(self._channel, marshal.dumps(lines[:several]))
            except OSError:  # nobody takes them fast enough, or at all
                self._lost += len(lines)
                return
            del lines[:several]
