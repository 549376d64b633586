"""The process that exports spans, as the admin worker sees it (`terraster.logs.trace_exporter`): started where `tracing` is configured, again
after it has ended by itself, and replaced by another one when a reload changes the settings. One that was replaced has `timeout` to export what
it took; all end with the admin worker."""

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
_KILLED = 1.0  # seconds beyond its time after which a process is killed
_POLL = 0.02


class _Exporter:
    """One process. settings: those that it has. told: it was told to end. over: it has ended. counts: those that it said last.
    warned_at, warned_of: the time of the last warning, and the number of lost spans in it"""

    def __init__(self, channel: int, settings: Tracing) -> None:
        """Raises OSError."""
        self.settings = settings
        self.told = self.over = False
        self.began = time.monotonic()
        self.counts = {"taken": 0, "exported": 0, "dropped": 0}
        self.warned_at, self.warned_of = -_WARN_EVERY, 0
        near, far = socket.socketpair()
        environment = {name: value for name, value in os.environ.items() if not _is_for_the_library(name)}
        environment["PYTHONPATH"] = os.path.dirname(os.path.dirname(terraster.__file__))
        environment.pop("NOTIFY_SOCKET", None)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "terraster.logs.trace_exporter", str(channel), str(far.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(channel, far.fileno()),
                cwd="/",
                env=environment,
            )
        except OSError:
            near.close()
            raise
        finally:
            far.close()
        self.pid = self._process.pid
        self._control = near
        said = {**asdict(settings), "headers": dict(settings.headers), "resource": dict(settings.resource)}
        self._say({**said, "version": terraster.__version__})

    def end(self, seconds: float, empties: bool) -> None:
        """Tell it to end, once it has exported what it took, after so many seconds at most. empties: it is the last one, and takes
        first what the channel still has."""
        self.told = True
        self._say({"seconds": seconds, "empties": empties})
        gevent.spawn_later(seconds + _KILLED, self._kill)

    def hurry(self) -> None:
        """End in `LAST` seconds, whatever it was told before."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)

    def hear(self, count: Callable[[dict[str, Any]], None]) -> str:
        """Hear its counts until it ends. Returns how it ended by itself, "": it was told to."""
        received = b""
        with suppress(OSError):  # it was killed
            while octets := self._control.recv(65536):
                received += octets
                *lines, received = received.split(b"\n")
                for line in lines:
                    count(json.loads(line))
        while self._process.poll() is None:
            gevent.sleep(_POLL)
        self._control.close()
        self.over = True
        code = self._process.returncode
        return "" if self.told else f"was ended by signal {-code}" if code < 0 else f"ended with {code}"

    def _say(self, words: dict[str, Any]) -> None:
        with suppress(OSError):  # it has gone; `hear` learns how
            self._control.sendall(json.dumps(words).encode() + b"\n")

    def _kill(self) -> None:
        if not self.over:
            self._process.kill()


class TraceExporters:
    """Keeps one process that exports, and counts what it says.

    channel: the descriptor of its side of the channel for spans. running: returns the configuration"""

    def __init__(self, channel: int, view: SeatView, running: Callable[[], Snapshot], log: Any) -> None:
        self._channel = channel
        self._view = view
        self._running = running
        self._log = log
        self._changed = Event()
        self._ended = False
        self._backoff = Backoff()
        self._current: _Exporter | None = None
        self._all: set[_Exporter] = set()

    @property
    def busy(self) -> bool:
        """True if a process is there."""
        return bool(self._all)

    def changed(self) -> None:
        """There is another configuration."""
        self._changed.set()

    def stop(self) -> None:
        """End all processes once they have exported what they have."""
        self._ended = True
        current, self._current = self._current, None
        for one in self._all:
            if one is current:
                one.end(LAST, True)
            else:
                one.hurry()
        self._changed.set()

    def run(self) -> None:
        """Keep a process as long as it is wanted. In a greenlet of its own."""
        while not self._ended:
            self._changed.clear()
            wanted = self._running().tracing if self._channel >= 0 else None
            current = self._current
            if current is not None and current.settings != wanted and not current.over:
                self._current = None
                current.end(current.settings.timeout, False)
            elif current is not None and not current.over or wanted is None:
                self._changed.wait()
            else:
                left = self._backoff.remaining(time.monotonic())
                if left > 0:
                    self._changed.wait(left)
                else:
                    self._start(wanted)

    def _start(self, wanted: Tracing) -> None:
        try:
            one = self._current = _Exporter(self._channel, wanted)
        except OSError as error:
            self._failed(f"cannot be started: {error.strerror}", 0.0)
            return
        self._all.add(one)
        self._log.info("tracing: process %d exports spans to %s", one.pid, wanted.endpoint)
        gevent.spawn(self._hear, one)

    def _hear(self, one: _Exporter) -> None:
        """Hear a process until it ends. In a greenlet of its own."""

        def count(said: dict[str, Any]) -> None:
            self._count(one, said)

        how = one.hear(count)
        self._all.discard(one)
        self._add(Seat.SPANS_DROPPED, one.counts["taken"] - one.counts["exported"] - one.counts["dropped"])
        if how and not self._ended:
            self._failed(how, time.monotonic() - one.began)
        self._changed.set()

    def _failed(self, how: str, age: float) -> None:
        self._add(Seat.TRACE_EXPORTERS_ENDED, 1)
        delay = self._backoff.died(time.monotonic(), age)
        self._log.error("tracing: the process that exports spans %s; another one follows %s", how, _when(delay))

    def _count(self, one: _Exporter, said: dict[str, Any]) -> None:
        self._add(Seat.SPANS_EXPORTED, said["exported"] - one.counts["exported"])
        self._add(Seat.SPANS_DROPPED, said["dropped"] - one.counts["dropped"])
        one.counts = {name: said[name] for name in one.counts}
        now = time.monotonic()
        lost = one.counts["dropped"]
        if lost > one.warned_of and now - one.warned_at >= _WARN_EVERY:
            one.warned_at, one.warned_of = now, lost
            spans = f"{lost} span{'s' * (lost != 1)}"
            why = said["reason"] or "the last ones did not arrive in time"
            self._log.warning("tracing: the receiver has not got %s so far: %s", spans, why)

    def _add(self, cell: int, count: int) -> None:
        self._view.q[self._view.base + cell] += count


def _when(delay: float) -> str:
    return f"in {delay:g} s" if delay else "at once"


def _is_for_the_library(name: str) -> bool:
    """True for a variable that would change what the configuration says."""
    return name.startswith("OTEL_") and name != "OTEL_RESOURCE_ATTRIBUTES"
