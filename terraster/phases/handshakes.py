"""The TLS handshakes of one worker: a bound on those under way, their count by listener and outcome, and what the log says of those that
failed."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from terraster.errors import HttpError, TimedOut
from terraster.net.connection import Connection
from terraster.net.handshake import Handshake, HandshakeFailed
from terraster.net.reactor import Reactor
from terraster.state.cells import ALPN, HANDSHAKE_FAILURES, SeatListener, SeatLocation
from terraster.state.view import SeatView

from .quiet import QUIET, Quiet

__all__ = ["MOST", "Handshakes", "most"]

MOST = 512
"""Handshakes under way in a worker at most."""

_LEAST = 16  # even where few connections are allowed

_OK = {
    (version, resumed, alpn): SeatListener.ok(version, resumed, alpn)
    for version in SeatListener.VERSIONS
    for resumed in (False, True)
    for alpn in ALPN
}

_FAILED = {name: SeatListener.FAILED + number for number, name in enumerate(HANDSHAKE_FAILURES)}


def most(connections: int) -> int:
    """How many handshakes may be under way. connections: the limit of connections, 0 = none. A flood of half-open ones leaves three quarters
    of them to others."""
    return min(MOST, max(_LEAST, connections // 4)) if connections else MOST


class Handshakes:
    """Counts handshakes in the worker's seat, and ends the oldest ones if too many are under way.

    Clients that mean it finish within a few round trips. So in a flood of half-open handshakes the oldest ones are the flood's, and a client
    that comes now is not made to wait.

    log: called with one line of text about failures
    """

    __slots__ = ("log", "_loop", "_most", "_quiet", "_sheds", "_under_way", "_view")

    def __init__(self, view: SeatView, reactor: Reactor) -> None:
        self.log: Callable[[str], object] = _nobody
        self._view = view
        self._loop = reactor.loop
        self._most = MOST
        self._sheds = False  # True while `_shed` is about to run
        self._under_way: dict[Connection, None] = {}  # the oldest first
        self._quiet = Quiet(reactor.clock)

    def begin(self, connection: Connection, connections: int) -> None:
        """A handshake begins. `end` must follow. connections: the limit of connections"""
        self._under_way[connection] = None
        self._most = most(connections)
        if len(self._under_way) > self._most and not self._sheds:
            self._sheds = True
            self._loop.run_callback(self._shed)

    def end(self, connection: Connection) -> None:
        """The handshake is over, in whatever way."""
        del self._under_way[connection]

    def _shed(self) -> None:
        """End the oldest handshakes of those that are too many. One that is just writing stays, and its time runs out. Runs on the hub."""
        self._sheds = False
        more = len(self._under_way) - self._most
        for connection in list(self._under_way) if more > 0 else ():
            more -= connection.plain.end_wait(HandshakeFailed("ended in favour of other clients", "overload"))
            if not more:
                return

    def succeeded(self, connection: Connection, handshake: Handshake) -> None:
        """A handshake is over."""
        alpn = handshake.alpn or "none"
        self._count(connection.listener, _OK[handshake.version, handshake.resumed, alpn if alpn in ALPN else "other"])

    def failed(self, connection: Connection, error: HttpError) -> None:
        """A handshake ended with this error."""
        result = error.result if isinstance(error, HandshakeFailed) else "timeout" if isinstance(error, TimedOut) else "client_gone"
        address = connection.listener.address
        self._count(connection.listener, _FAILED[result])
        self.sweep(self._quiet.clock())
        if self._quiet.says((address, result), error.detail):
            self.log(f"TLS handshake failed on {address}: {result} ({error.detail}; client {connection.client_ip})")

    def sweep(self, now: float) -> None:
        """Tell how many failures followed those that the log has. Called a few times a second, and with infinity at the end."""
        for (address, result), more in self._quiet.over(now):
            self.log(f"TLS handshakes failed on {address}: {more} more within {QUIET:g} s: {result}")

    def finish(self) -> None:
        """Tell everything, because the worker ends."""
        self.sweep(inf)

    def _count(self, listener: Any, cell: int) -> None:
        """Count in the listener's slot, if it is still the listener's: one that a reload removed long ago has lost it."""
        view = self._view
        if listener.slot >= 0 and view.location_leases.get(listener.slot) == listener.lease:
            view.q[view.locations + listener.slot * SeatLocation.CELLS + cell] += 1


def _nobody(line: str) -> None:
    """Where nobody reads the log."""
