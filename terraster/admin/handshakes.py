"""Readings of the TLS handshakes with clients, from the slots of listeners in the shared table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..config.snapshot import Snapshot
from ..state.cells import ALPN, HANDSHAKE_FAILURES, SeatListener
from ..state.table import Table

__all__ = ["HandshakeReading", "read"]


@dataclass(frozen=True, slots=True)
class HandshakeReading:
    """The number of handshakes on one listener with one outcome, since the listener is there. version, alpn: "none" for one that failed"""

    listener: str
    version: str
    resumed: bool
    alpn: str
    result: str
    count: int

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its metric."""
        resumed = "yes" if self.resumed else "no"
        return {"listener": self.listener, "version": self.version, "resumed": resumed, "alpn": self.alpn, "result": self.result}


def read(table: Table, snapshot: Snapshot) -> Iterator[HandshakeReading]:
    """Every outcome on every TLS listener. Failures and protocols only if there were any."""
    for listener in snapshot.listeners:
        if listener.slot < 0:
            continue
        cells = table.location_row(listener.slot)
        for version in SeatListener.VERSIONS:
            for resumed in (False, True):
                for alpn in ALPN:
                    count = cells[SeatListener.ok(version, resumed, alpn)]
                    if count or alpn == "none":
                        yield HandshakeReading(listener.address, version, resumed, alpn, "ok", count)
        for number, result in enumerate(HANDSHAKE_FAILURES):
            if count := cells[SeatListener.FAILED + number]:
                yield HandshakeReading(listener.address, "none", False, "none", result, count)
