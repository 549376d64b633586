"""The spans of one process on their way to the process that exports them (`terraster.logs.trace_exporter`).

`TracedWriter.write` packs a finished request and keeps it. `Tracer.flush` sends what is kept, over a socket that all workers share, in messages
that are taken whole or not at all. It never waits: what the socket does not take stays here, within bounds, and what goes beyond them is lost
and counted.
"""

from __future__ import annotations

import errno
import marshal
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ..config.snapshot import AccessLog
from ..config.tracing import Sampling
from ..exchange import Exchange
from ..state.cells import Seat
from .log_channel import MESSAGE
from .spans import VERSION, Packer
from .trace import trace_of

__all__ = ["MOST_OCTETS", "MOST_SPANS", "TracedWriter", "Tracer"]

MOST_SPANS = 16384
MOST_OCTETS = 8 << 20
"""A process keeps no more than that, while the exporting process takes nothing."""

_TOGETHER = 512
"""Spans after which they are sent without waiting for the next turn."""

_WARN_EVERY = 60.0  # seconds between two lines about lost spans


class Tracer:
    """The spans of one process.

    channel: the descriptor of the workers' side of the channel; -1: there is none, and all spans are lost
    warn:    called with one line of text about lost spans
    """

    __slots__ = (
        "_channel",
        "_clock",
        "_kept",
        "_lost",
        "_octets",
        "_packers",
        "_published",
        "_reported",
        "_spans",
        "_warn",
        "_warned",
    )

    def __init__(self, channel: int, warn: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._channel = channel
        self._warn = warn
        self._clock = clock
        self._kept: deque[tuple[int, bytes]] = deque()
        self._packers: dict[AccessLog, Packer] = {}
        self._spans = self._octets = self._lost = self._published = self._reported = 0
        self._warned = -_WARN_EVERY

    @property
    def waiting(self) -> int:
        """The spans that are kept."""
        return self._spans

    @property
    def lost(self) -> int:
        """The spans that were lost so far."""
        return self._lost

    def writer(self, sampling: Sampling, config: AccessLog, inner: Any) -> TracedWriter:
        """A writer for requests of places with this sampling. inner: that of access lines, False: there are none"""
        packer = self._packers.get(config)
        if packer is None:
            packer = self._packers[config] = Packer(config)
        return TracedWriter(self, sampling, packer, inner)

    def retain(self) -> None:
        """Forget what older configurations needed. Called after a reload."""
        self._packers.clear()

    def keep(self, count: int, packed: bytes) -> None:
        """Keep the spans of a request. count: their number"""
        octets = len(packed)
        if self._spans + count > MOST_SPANS or self._octets + octets > MOST_OCTETS:
            self._lose(count)
            return
        self._kept.append((count, packed))
        self._spans += count
        self._octets += octets
        if self._spans >= _TOGETHER and self._spans - count < _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Send what is kept, as far as the socket takes it."""
        while self._kept:
            taken, spans, octets = 0, 0, 0
            batch: list[bytes] = []
            for count, packed in self._kept:
                if batch and octets + len(packed) > MESSAGE:
                    break
                batch.append(packed)
                taken, spans, octets = taken + 1, spans + count, octets + len(packed)
            try:
                os.write(self._channel, marshal.dumps((VERSION, spans, batch)))
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                    return
                self._lose(spans)  # too long for the socket, or the socket is not there
            for _ in range(taken):
                self._kept.popleft()
            self._spans -= spans
            self._octets -= octets

    def publish(self, q: memoryview, seat: int) -> None:
        """Add what was lost since the last call to the cell of the seat whose first cell is ``seat``, and say so at times."""
        lost = self._lost - self._published
        if lost:
            self._published = self._lost
            q[seat + Seat.SPANS_DROPPED] += lost
        if self._lost > self._reported and self._clock() - self._warned >= _WARN_EVERY:
            self._report()

    def close(self) -> None:
        """Send what is kept; what the socket does not take is lost."""
        self.flush()
        if self._spans:
            self._lose(self._spans)
            self._kept.clear()
            self._spans = self._octets = 0
        if self._lost > self._reported:
            self._report()

    def _lose(self, spans: int) -> None:
        self._lost += spans

    def _report(self) -> None:
        self._warned = self._clock()
        self._reported = self._lost
        self._warn(f"tracing: {self._lost} span{'s' * (self._lost != 1)} lost so far: the process that exports them is too slow")


class TracedWriter:
    """Keeps the spans of a place's requests, and hands them on to the writer of access lines."""

    __slots__ = ("_inner", "_packer", "_sampling", "_tracer")

    def __init__(self, tracer: Tracer, sampling: Sampling, packer: Packer, inner: Any) -> None:
        self._tracer = tracer
        self._sampling = sampling
        self._packer = packer
        self._inner = inner

    def write(self, exchange: Exchange) -> None:
        """Take a finished exchange."""
        trace = trace_of(exchange, self._sampling)
        if trace.sampled:
            self._tracer.keep(*self._packer.pack(exchange, trace))
        if self._inner is not False:
            self._inner.write(exchange)
