"""The result of a load: the records of all processes put together, in the order of time, and the figures that follow. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
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
    ready to run and had no core. stood: for which it stood still, in pieces of half a second and more."""

    seconds: float
    wall: float
    cpu: float
    waited: float
    stood: float

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
    total:  all requests that count. within: answers that ended before the load's time was over
    shares: of the processes that have ended. faults: of those that ended too early
    """

    __slots__ = ("faults", "load", "processes", "shares", "total", "within", "_end", "_octets", "_slots", "_width")

    def __init__(self, load: Load, processes: int) -> None:
        self.load = load
        self.processes = processes
        self.total = Record()
        self.within = 0
        self._octets = 0  # that came before the load's time was over
        self._end = 0.0  # seconds of the load at which the last tick was over
        self.shares: list[Share] = []
        self.faults: list[str] = []
        self._slots: dict[int, Record] = {}
        self._width = TICK

    def add(self, at: float, record: Record, is_late: bool = False) -> None:
        """Take the requests of a process that ended in a tick. at: seconds of the load at which the tick was over. is_late: True if the load's
        time was over before the tick"""
        self.total.merge(record)
        if not is_late:
            self.within += record.complete
            self._octets += record.received
        self._end = max(self._end, at)
        self._slot(self._index(at)).merge(record)

    def _index(self, at: float) -> int:
        return max(0, ceil((at - _ROUNDING) / self._width) - 1)

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
        return self._octets / self.seconds if self.seconds > 0.0 else 0.0

    def slots(self) -> list[Slot]:
        """The course of the load until its last request has ended: equal times in order, those without requests included. The last one may be
        shorter, or longer by less than half: a process ticks a little late, which in a very short time would look like a burst."""
        end = max(self._end, self.seconds)
        if not self._slots or end <= 0.0:
            return []
        count = self._index(end) + 1
        made = [Slot(self._slots.get(at) or Record(), self._width) for at in range(count)]
        made[-1].width = end - (count - 1) * self._width
        if count > 1 and made[-1].width < self._width / 2 - _ROUNDING:
            last = made.pop()
            whole = Record()
            whole.merge(made[-1].record)
            whole.merge(last.record)
            made[-1] = Slot(whole, made[-1].width + last.width)
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
        stood = max([share.stood for share in self.shares], default=0.0)
        if stood:
            found.append(
                f"the load generator stood still for {stood:.1f} s, as by Ctrl-Z: that is in the time, and in the latencies of what was under"
                " way or due"
            )
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
