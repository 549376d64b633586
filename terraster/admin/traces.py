"""The process that exports spans, as the admin worker sees it (`terraster.logs.trace_exporter`): started where `tracing` is configured, again
after it has ended by itself, with the new settings after a reload, and ended with the admin worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import gevent
from gevent import socket
from gevent.event import Event

import terraster

from ..config.snapshot import Snapshot
from ..config.tracing import Tracing
from ..logs.trace_exporter import LAST
from ..master.backoff import Backoff
from ..state.cells import Seat
from ..state.view import SeatView

__all__ = ["TraceExporters"]

_WARN_EVERY = 60.0  # seconds between two lines about spans that the receiver did not get
_END = LAST + 1.0  # seconds until one that was told to end is killed
_POLL = 0.02


class TraceExporters:
    """Keeps one exporting process, and counts what it says.

    channel: the descriptor of its side of the channel for spans. running: returns the configuration"""

    def __init__(self, channel: int, view: SeatView, running: Callable[[], Snapshot], log: Any) -> None:
        self._channel = channel
        self._view = view
        self._running = running
        self._log = log
        self._changed = Event()
        self._ended = False
        self._backoff = Backoff()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_told = False  # the process was told to end
        self._counts = {"taken": 0, "exported": 0, "dropped": 0}
        self._dropped = self._told = 0
        self._warned = -_WARN_EVERY

    @property
    def busy(self) -> bool:
        """True if a process is there."""
        return self._process is not None

    def changed(self) -> None:
        """There is another configuration."""
        self._changed.set()

    def stop(self) -> None:
        """End the process once it has exported what it has."""
        self._ended = True
        self._changed.set()

    def run(self) -> None:
        """Keep a process as long as it is wanted. In a greenlet of its own."""
        while not self._ended:
            self._changed.clear()
            wanted = self._running().tracing
            if wanted is None or self._channel < 0:
                self._changed.wait()
                continue
            began = time.monotonic()
            how = self._keep(wanted)
            if how:
                self._add(Seat.TRACE_EXPORTERS_ENDED, 1)
                now = time.monotonic()
                delay = self._backoff.died(now, now - began)
                self._log.error("tracing: the process that exports spans %s; another one follows %s", how, _when(delay))
                self._changed.wait(delay)

    def _keep(self, wanted: Tracing) -> str:
        """Start a process with these settings, and hear it until it ends. Returns how it ended by itself, "": it was told to end."""
        near, far = socket.socketpair()
        environment = {name: value for name, value in os.environ.items() if not _is_for_the_library(name)}
        environment["PYTHONPATH"] = os.path.dirname(os.path.dirname(terraster.__file__))
        environment.pop("NOTIFY_SOCKET", None)
        try:
            process = self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "terraster.logs.trace_exporter", str(self._channel), str(far.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(self._channel, far.fileno()),
                cwd="/",
                env=environment,
            )
        except OSError as error:
            near.close()
            return f"cannot be started: {error.strerror}"
        finally:
            far.close()
        self._log.info("tracing: process %d exports spans to %s", process.pid, wanted.endpoint)
        self._counts = dict.fromkeys(self._counts, 0)
        self._is_told = False
        watch = gevent.spawn(self._tell, near, wanted)
        with suppress(OSError):  # it was killed
            self._hear(near)
        while process.poll() is None:
            gevent.sleep(_POLL)
        watch.kill()
        near.close()
        self._process = None
        self._add(Seat.SPANS_DROPPED, self._counts["taken"] - self._counts["exported"] - self._counts["dropped"])
        code = process.returncode
        return "" if self._is_told else f"was ended by signal {-code}" if code < 0 else f"ended with {code}"

    def _tell(self, near: Any, wanted: Tracing) -> None:
        """Give the process its settings, and tell it to end when other ones count, or the admin worker ends. In a greenlet of its own."""
        settings = {**asdict(wanted), "headers": dict(wanted.headers), "resource": dict(wanted.resource)}
        with suppress(OSError):  # `_keep` learns how it ended
            near.sendall(json.dumps({**settings, "version": terraster.__version__}).encode() + b"\n")
        while not self._ended and self._running().tracing == wanted:
            self._changed.clear()
            self._changed.wait()
        self._is_told = True
        with suppress(OSError):
            near.shutdown(socket.SHUT_WR)
        gevent.sleep(_END)
        if self._process is not None:
            self._process.kill()

    def _hear(self, near: Any) -> None:
        """Take the counts of the process until it ends. Raises OSError."""
        received = b""
        while octets := near.recv(65536):
            received += octets
            *lines, received = received.split(b"\n")
            for line in lines:
                self._count(json.loads(line))

    def _count(self, said: dict[str, Any]) -> None:
        self._add(Seat.SPANS_EXPORTED, said["exported"] - self._counts["exported"])
        dropped = said["dropped"] - self._counts["dropped"]
        self._add(Seat.SPANS_DROPPED, dropped)
        self._counts = {name: said[name] for name in self._counts}
        self._dropped += dropped
        now = time.monotonic()
        if self._dropped > self._told and now - self._warned >= _WARN_EVERY:
            self._warned, self._told = now, self._dropped
            spans = f"{self._dropped} span{'s' * (self._dropped != 1)}"
            self._log.warning(
                "tracing: the receiver has not got %s so far: %s", spans, said["reason"] or "the last ones did not arrive in time"
            )

    def _add(self, cell: int, count: int) -> None:
        self._view.q[self._view.base + cell] += count


def _when(delay: float) -> str:
    return f"in {delay:g} s" if delay else "at once"


def _is_for_the_library(name: str) -> bool:
    """True for a variable that would change what the configuration says."""
    return name.startswith("OTEL_") and name != "OTEL_RESOURCE_ATTRIBUTES"
