"""One process's share of a load while it runs: whose turn it is, what is counted, and the clients that wait for their turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Protocol

from terraster.errors import HttpError
from terraster.net.reactor import Reactor

from .alarm import Alarm
from .connection import Connection
from .failures import TIMEOUT, UNFINISHED, UNSENT, kind_of
from .load import Load
from .record import Record
from .tls import LoadTls
from .turns import ClosedTurns, OpenTurns, Turns

__all__ = ["Client", "Run"]


class Client(Protocol):
    """Sends requests on one connection, and on a new one when that has ended. In an open loop it is parked from the beginning on, and whenever
    no request is due."""

    def prepare(self) -> None:
        """Open the connection before the load begins. Called in a greenlet of its own; must not raise."""

    def begin(self) -> None:
        """The load begins. Called on the hub."""

    def proceed(self, due: float) -> None:
        """A turn was taken for this client, which was parked. due: of the request, monotonic time. Called on the hub."""


class Run:
    """A share of a load. Each turn that is taken is ended by `answered` or `failed`, and followed by another `take`.

    load, reactor, turns: what it is made of. clock: the reactor's
    record:   counts since they were read last
    last:     monotonic time of the last answer that counts, 0.0: none yet
    underway: turns that were taken and have not ended
    """

    __slots__ = ("clock", "last", "load", "reactor", "record", "turns", "underway", "_alarm", "_parked", "_rested", "_tls")

    def __init__(self, load: Load, reactor: Reactor, rested: Callable[[], None]) -> None:
        """rested: called, maybe repeatedly, when no request is under way and none is to come; must not wait. Raises OSError or ssl.SSLError
        for a file of authorities that cannot be used."""
        self.load = load
        self.reactor = reactor
        self.clock = reactor.clock
        self.turns: Turns = OpenTurns(load) if load.rate else ClosedTurns(load)
        self.record = Record()
        self.last = 0.0
        self.underway = 0
        self._alarm = Alarm(reactor, self._dispatch)
        self._parked: deque[Client] = deque()
        self._rested = rested
        self._tls = LoadTls(load) if load.scheme == "https" else None

    def connect(self, timeout: float) -> Connection:
        """A new connection. timeout: seconds. Raises `HttpError`."""
        clock = self.clock
        began = clock()
        connection = Connection(self.reactor, self.load, self._tls, timeout)
        if began >= self.turns.since or self.turns.since == inf:
            self.record.connects.add(clock() - began)
        return connection

    def take(self, now: float) -> float:
        """Take a turn: see `Turns.take`."""
        due = self.turns.take(now)
        if due <= now:
            self.underway += 1
            if self.load.rate and due >= self.turns.since:
                (self.record.lateness if self._parked else self.record.queued).add(now - due)
        elif due == inf and not self.underway:
            self._rested()
        return due

    def park(self, client: Client, due: float) -> None:
        """Let a client wait for a turn. due: monotonic time of the next one, as `take` returned it, not inf; at the beginning, now"""
        self._parked.append(client)
        self._alarm.set(due)

    def _dispatch(self) -> None:
        while self._parked:
            now = self.clock()
            due = self.take(now)
            if due > now:
                if due < inf:
                    self._alarm.set(due)
                return
            self._parked.popleft().proceed(due)

    def stop(self) -> None:
        """Take no turn from now on."""
        now = self.clock()
        self.turns.stop(now)
        if not self.underway:
            self._rested()

    def answered(self, due: float, now: float, status: int, received: int) -> None:
        """A turn ended with a complete answer. received: octets"""
        self.underway -= 1
        if due >= self.turns.since:
            self.last = now
            record = self.record
            record.statuses[status] += 1
            record.received += received
            record.latencies.add(now - due)

    def failed(self, due: float, now: float, error: HttpError) -> None:
        """A turn ended by an error of the connection."""
        self.lost(due, now, kind_of(error), error.detail)

    def lost(self, due: float, now: float, kind: str, text: str) -> None:
        """A turn ended without a complete answer. kind: as in `terraster.bench.failures`"""
        self.underway -= 1
        if due >= self.turns.since:
            self.last = now
            record = self.record
            record.errors[kind] += 1
            record.texts.setdefault(kind, text)
            if kind == TIMEOUT:  # without them the quantiles of a server that is too slow would look better than they are
                record.latencies.add(now - due)

    def give_up(self) -> None:
        """Count what is under way as unfinished, and what was due before the load was stopped as unsent."""
        record = self.record
        if self.underway:
            record.errors[UNFINISHED] += self.underway
            record.texts[UNFINISHED] = "the load was ended while these requests were under way"
        if unsent := self.turns.untaken():
            record.errors[UNSENT] += unsent
            record.texts[UNSENT] = "these requests were due before the load was ended, and no connection was free to send them"

    def close(self) -> None:
        """Free the timer. Nothing may be under way."""
        self._alarm.close()
