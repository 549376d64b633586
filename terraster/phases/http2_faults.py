"""The HTTP/2 connections of one worker: their count, and what ended those that ended by a fault of the client."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from terraster.net.connection import Connection
from terraster.state.cells import HTTP2_FAULTS, Seat
from terraster.state.view import SeatView

from .quiet import QUIET, Quiet

__all__ = ["Http2Faults"]

_CELLS = {kind: Seat.HTTP2_FAULTS + number for number, kind in enumerate(HTTP2_FAULTS)}
_RULE = "protocol"


class Http2Faults:
    """Counts connections and faults in the worker's seat, and tells the log of faults.

    log:  called with one line of text about a client that broke a rule
    warn: the same about a flood
    """

    __slots__ = ("log", "warn", "_quiet", "_view")

    def __init__(self, view: SeatView, clock: Callable[[], float]) -> None:
        """clock: monotonic seconds"""
        self.log: Callable[[str], object] = _nobody
        self.warn: Callable[[str], object] = _nobody
        self._quiet = Quiet(clock)
        self._view = view

    def began(self) -> None:
        """A connection begins to speak HTTP/2."""
        view = self._view
        view.q[view.base + Seat.HTTP2_CONNECTIONS] += 1

    def ended(self, connection: Connection, bound: str, why: str) -> None:
        """A connection ends by a fault of its client. bound: the name of the bound that it exceeded, "" for another rule. why: words"""
        kind = bound or _RULE
        address, view = connection.listener.address, self._view
        view.q[view.base + _CELLS[kind]] += 1
        self.sweep(self._quiet.clock())
        if self._quiet.says((address, kind)):
            say = self.warn if bound else self.log
            say(f"HTTP/2 connection ended on {address}: {kind} ({why}; client {connection.client_ip})")

    def sweep(self, now: float) -> None:
        """Tell how many faults followed those that the log has. Called a few times a second, and with infinity at the end."""
        for (address, kind), more in self._quiet.over(now):
            say = self.log if kind == _RULE else self.warn
            say(f"HTTP/2 connections ended on {address}: {more} more within {QUIET:g} s: {kind}")

    def finish(self) -> None:
        """Tell everything, because the worker ends."""
        self.sweep(inf)


def _nobody(line: str) -> None:
    """Where nobody reads the log."""
