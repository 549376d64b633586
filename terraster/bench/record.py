"""The requests of some time, counted: how long they took, what they were answered, why they failed. Records of several processes add up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from .histogram import Histogram

__all__ = ["TICK", "Record"]

TICK = 0.2
"""Seconds of requests that a process of the generator reports together."""


class Record:
    """Counts of requests.

    latencies: seconds from the time when a request was due to the last octet of its answer; of timeouts, as long as was waited
    connects:  seconds that connections took, with their TLS handshake
    lateness:  seconds by which this generator sent requests of an open loop too late, though a connection was free
    queued:    seconds for which such requests waited for a connection, because all were busy
    statuses:  answers by status. errors: requests without a complete answer, by kind (`terraster.bench.failures`). texts: one for each kind
    received, sent: octets; of TLS those within
    """

    __slots__ = ("connects", "errors", "lateness", "latencies", "queued", "received", "sent", "statuses", "texts")

    def __init__(self) -> None:
        self.latencies = Histogram()
        self.connects = Histogram()
        self.lateness = Histogram()
        self.queued = Histogram()
        self.statuses: defaultdict[int, int] = defaultdict(int)
        self.errors: defaultdict[str, int] = defaultdict(int)
        self.texts: dict[str, str] = {}
        self.received = 0
        self.sent = 0

    @property
    def complete(self) -> int:
        """Requests with a complete answer."""
        return sum(self.statuses.values())

    @property
    def refused(self) -> int:
        """Requests whose answer has a status of 400 or more."""
        return sum([count for status, count in self.statuses.items() if status >= 400])

    @property
    def unanswered(self) -> int:
        """Requests without a complete answer."""
        return sum(self.errors.values())

    @property
    def failed(self) -> int:
        """Requests without a complete answer, or with a status of 400 or more."""
        return self.unanswered + self.refused

    def merge(self, other: Record) -> None:
        """Add the counts of another one."""
        self.latencies.merge(other.latencies)
        self.connects.merge(other.connects)
        self.lateness.merge(other.lateness)
        self.queued.merge(other.queued)
        for status, count in other.statuses.items():
            self.statuses[status] += count
        for kind, count in other.errors.items():
            self.errors[kind] += count
        self.texts = other.texts | self.texts
        self.received += other.received
        self.sent += other.sent

    def to_json(self) -> dict[str, Any]:
        """Its content, for `from_json`."""
        return {
            "latencies": self.latencies.to_json(),
            "connects": self.connects.to_json(),
            "lateness": self.lateness.to_json(),
            "queued": self.queued.to_json(),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "errors": self.errors,
            "texts": self.texts,
            "received": self.received,
            "sent": self.sent,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Record:
        """The record with this content."""
        made = cls()
        made.latencies = Histogram.from_json(content["latencies"])
        made.connects = Histogram.from_json(content["connects"])
        made.lateness = Histogram.from_json(content["lateness"])
        made.queued = Histogram.from_json(content["queued"])
        made.statuses.update({int(status): count for status, count in content["statuses"].items()})
        made.errors.update(content["errors"])
        made.texts = dict(content["texts"])
        made.received = content["received"]
        made.sent = content["sent"]
        return made
