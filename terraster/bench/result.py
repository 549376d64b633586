"""The result of a load: the records of all processes put together, in the order of time, and the figures that follow. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf
from typing import Any

from .load import Load
from .record import TICK, Record

__all__ = ["Result", "Share", "Slot"]

_MOST_SLOTS = 240
_ROUNDING = 1e-6
_BUSY = 0.95
"""Share of a core from which on a process is the limit: it has no time left for a faster server."""

_RATHER_BUSY = 0.75
"""Share from which on it may be: a closed loop waits for the server and for this process in turn. At 0.8 it made 91 % of the requests that
wrk made (2026-11-29, an nginx that answers itself, 10 connections)."""


@dataclass(frozen=True, slots=True)
class Share:
    """One process of the load generator. seconds: of the load. wall: for which it ran. cpu: of a core that it used. waited: for which it was
    ready to run and had no core."""

    seconds: float
    wall: float
    cpu: float
    waited: float

    @property
    def busy(self) -> float:
        """Share of a core that it used or waited for, 0 to 1."""
        return min(1.0, (self.cpu + self.waited) / self.wall) if self.wall > 0.0 else 0.0

    @property
    def used(self) -> float:
        """Share of a core that it used, 0 to 1."""
        return min(1.0, self.cpu / self.wall) if self.wall > 0.0 else 0.0


class Slot:
    """Requests that ended in some time. record: them. width: its seconds"""

    __slots__ = ("record", "width")

    def __init__(self, record: Record, width: float) -> None:
        self.record = record
        self.width = width


class Result:
    """The figures of a load, also while it runs.

    load:   what was asked for. processes: of the generator
    total:  all requests that count. within: those that ended before the load's time was over
    shares: of the processes that have ended. faults: of those that ended too early
    """

    __slots__ = ("faults", "load", "processes", "shares", "total", "within", "_slots", "_width")

    def __init__(self, load: Load, processes: int) -> None:
        self.load = load
        self.processes = processes
        self.total = Record()
        self.within = 0
        self.shares: list[Share] = []
        self.faults: list[str] = []
        self._slots: dict[int, Record] = {}
        self._width = TICK

    def add(self, at: float, record: Record) -> None:
        """Take the requests of a process that ended in a tick. at: seconds of the load at which the tick was over"""
        self.total.merge(record)
        seconds = self.load.seconds or inf
        if at <= seconds + _ROUNDING:
            self.within += record.complete
        elif at <= seconds + TICK:
            at = seconds  # these few would look like a time of their own
        self._slot(max(0, ceil((at - _ROUNDING) / self._width) - 1)).merge(record)

    def ended(self, facts: Mapping[str, float]) -> None:
        """A process has ended in order."""
        self.shares.append(Share(**facts))

    def _slot(self, index: int) -> Record:
        while index >= _MOST_SLOTS:  # twice as wide, half as many
            self._width *= 2.0
            index //= 2
            old, self._slots = self._slots, {}
            for at, record in old.items():
                self._slots.setdefault(at // 2, Record()).merge(record)
        return self._slots.setdefault(index, Record())

    @property
    def seconds(self) -> float:
        """How long the load took."""
        return max([share.seconds for share in self.shares], default=0.0)

    @property
    def rate(self) -> float:
        """Complete answers per second."""
        return self.within / self.seconds if self.seconds > 0.0 else 0.0

    @property
    def octets_rate(self) -> float:
        """Octets per second that were received."""
        return self.total.received / self.seconds if self.seconds > 0.0 else 0.0

    def slots(self) -> list[Slot]:
        """The course of the load: equal times in order, those without requests included. The last one may be shorter."""
        count = max(self._slots, default=-1) + 1
        made = [Slot(self._slots.get(at) or Record(), self._width) for at in range(count)]
        if made:
            rest = self.seconds - (count - 1) * self._width
            made[-1].width = min(self._width, rest) if rest > 0.0 else self._width
        return made

    @property
    def busiest(self) -> Share | None:
        """The process with the least time to spare, None before the first one has ended."""
        return max(self.shares, key=_busy, default=None)

    def limits(self) -> list[str]:
        """Reasons for which the figures may be those of the load generator and not of the server: sentences, none if it had time to spare."""
        found = []
        busiest = self.busiest
        if busiest is not None and busiest.busy >= _RATHER_BUSY and busiest.wall >= TICK:
            found.append(_too_busy(busiest, self.processes))
        queued = self.total.queued
        if self.load.rate and queued.total > self.total.lateness.total // 10:
            found.append(
                f"{queued.total:,} requests waited for a connection, because all {self.load.connections} were busy (p99"
                f" {queued.quantile(0.99) * 1e3:.1f} ms, in the latencies): more connections (-c) would let the server see them in time"
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """All figures, for programs."""
        total, load = self.total, self.load
        return {
            "url": load.url,
            "concurrency": load.connections * load.streams,
            "connections": load.connections,
            "streams": load.streams,
            "processes": self.processes,
            "protocol": "HTTP/2" if load.http2 else "HTTP/1.1",
            "rate": load.rate or None,
            "seconds": self.seconds,
            "complete": total.complete,
            "failed": total.failed,
            "requests_per_second": self.rate,
            "latency_seconds": _times(total.latencies),
            "statuses": {str(status): total.statuses[status] for status in sorted(total.statuses)},
            "errors": dict(sorted(total.errors.items())),
            "error_examples": total.texts,
            "received_octets": total.received,
            "sent_octets": total.sent,
            "connect_seconds": _times(total.connects),
            "generator": {
                "late_seconds": _times(total.lateness) if load.rate else None,
                "queued_seconds": _times(total.queued) if load.rate else None,
                "busiest_core_share": self.busiest.used if self.busiest is not None else None,
                "busiest_wait_share": self.busiest.busy - self.busiest.used if self.busiest is not None else None,
                "limits": self.limits(),
                "faults": self.faults,
            },
            "course": [
                {
                    "seconds": slot.width,
                    "complete": slot.record.complete,
                    "failed": slot.record.failed,
                    "p50": slot.record.latencies.quantile(0.5),
                    "p99": slot.record.latencies.quantile(0.99),
                }
                for slot in self.slots()
            ],
        }


def _busy(share: Share) -> float:
    return share.busy


def _too_busy(share: Share, processes: int) -> str:
    verdict = "was the limit" if share.busy >= _BUSY else "may have been the limit"
    where = "" if processes == 1 else f" in the busiest of {processes} processes"
    waited = share.busy - share.used
    if waited < share.used / 4:
        return (
            f"the load generator {verdict}: {share.used:.0%} of a core{where}. The server may be faster than these figures;"
            " more --workers may help, if there are cores for them"
        )
    return (
        f"the load generator {verdict}: it used {share.used:.0%} of a core{where}, and was kept waiting for one"
        f" {waited:.0%} of the time. Latencies include this wait; the server needs a machine or cores of its own"
    )


def _times(times: Any) -> dict[str, float]:
    """The figures of a histogram, in seconds."""
    if not times.total:
        return {"count": 0}
    return {
        "count": times.total,
        "mean": times.mean,
        "deviation": times.deviation,
        "min": times.least,
        "p50": times.quantile(0.5),
        "p90": times.quantile(0.9),
        "p99": times.quantile(0.99),
        "p99.9": times.quantile(0.999),
        "max": times.greatest,
    }
