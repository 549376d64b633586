"""The process that exports spans with OpenTelemetry's library. The admin worker starts it (`terraster.admin.traces`).

    workers ──channel──▶ thread that takes messages ──▶ queue ──▶ thread that exports ──▶ receiver

It is a process of its own because the library waits in threads and with blocking sockets, and because gRPC's own threads do not survive a fork.
It begins with nothing of Terraster in memory but this module and `spans`.

The socket to the admin worker brings lines of JSON: the settings, and later the time to end; it takes lines with counts. Its end is the end of
this process, too: then it exports what it has, for at most `LAST` seconds. Signals that end others do not end it before.

The queue has bounds; of what goes beyond them the oldest is lost. So a receiver that is away for long gets the newest spans when it is back.
"""

from __future__ import annotations

import json
import logging
import marshal
import os
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from typing import Any

from .spans import SERVER, VERSION, Span, spans

__all__ = ["LAST", "MOST_OCTETS", "MOST_SPANS", "TOGETHER"]

LAST = 1.5  # seconds at the end, unless the admin worker says otherwise
MOST_SPANS, MOST_OCTETS = 65536, 32 << 20
TOGETHER = 512  # spans of a batch
_WAIT = 0.5  # seconds that spans wait for others
_TELL = 0.2  # seconds between two reports
_LOOK = 0.1  # seconds between two looks at what the admin worker says, at the end
_LARGEST = 1 << 20  # octets of a message
_EMPTYING = 0.2  # seconds at the end in which messages are still taken


class Waiting:
    """The messages that wait, and the counts. For both threads."""

    __slots__ = ("_queue", "_octets", "_spans", "changed", "dropped", "ending", "exported", "reason", "taken")

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.taken = self.exported = self.dropped = 0
        self.reason = ""
        self.ending = False
        self._queue: deque[tuple[int, int, list[bytes]]] = deque()
        self._octets = self._spans = 0

    def take(self, message: bytes) -> None:
        """Keep a message of a worker."""
        try:
            version, count, packed = marshal.loads(message)
        except (ValueError, EOFError, TypeError):
            return
        with self.changed:
            self.taken += count
            if version != VERSION:
                self.dropped += count
                self.reason = "the workers run another version of Terraster"
                return
            self._queue.append((count, len(message), packed))
            self._octets += len(message)
            self._spans += count
            while self._spans > MOST_SPANS or self._octets > MOST_OCTETS:
                lost, octets, _ = self._queue.popleft()
                self._spans -= lost
                self._octets -= octets
                self.dropped += lost
                self.reason = self.reason or "the receiver is too slow"
            self.changed.notify_all()

    def batch(self) -> list[Span]:
        """The spans of the next batch. Waits for them; none: it is the end. A request that cannot be read is dropped."""
        while True:
            count, packed = self._next()
            if not packed:
                return []
            made: list[Span] = []
            for one in packed:
                try:
                    made += spans(one)
                except Exception as error:  # no kind is sure: these are octets of another process
                    self.done(0, False, f"a worker's span cannot be read: {type(error).__name__}")
            if lost := max(0, count - len(made)):
                with self.changed:
                    self.dropped += lost
            if made:
                return made

    def _next(self) -> tuple[int, list[bytes]]:
        """The next messages: how many spans they have, and the packed requests. (0, []): it is the end."""
        with self.changed:
            while not self._queue and not self.ending:
                self.changed.wait()
            until = time.monotonic() + _WAIT
            while self._spans < TOGETHER and not self.ending and (left := until - time.monotonic()) > 0:
                self.changed.wait(left)
            found: list[bytes] = []
            together = 0
            while self._queue and (not found or together + self._queue[0][0] <= TOGETHER):
                count, octets, packed = self._queue.popleft()
                self._spans -= count
                self._octets -= octets
                together += count
                found += packed
        return together, found

    def done(self, count: int, ok: bool, reason: str) -> None:
        """A batch is over."""
        with self.changed:
            if ok:
                self.exported += count
                self.reason = ""
            else:
                self.dropped += count
                self.reason = reason or "the receiver did not take them"

    def end(self) -> None:
        """Nothing more comes: the messages that wait are exported."""
        with self.changed:
            self.ending = True
            self.changed.notify_all()

    def report(self) -> dict[str, Any]:
        """The counts."""
        with self.changed:
            return {"taken": self.taken, "exported": self.exported, "dropped": self.dropped, "reason": self.reason}


class Control:
    """The socket to the admin worker. deadline: monotonic time at which this process ends at the latest, inf: it goes on. empties: it takes
    first what the channel still has. over: nothing more will be said"""

    __slots__ = ("_received", "deadline", "empties", "over", "socket")

    def __init__(self, of_admin: socket.socket) -> None:
        self.socket = of_admin
        self.deadline = inf
        self.empties = self.over = False
        self._received = b""

    def settings(self) -> dict[str, Any]:
        """The first line. Waits. Takes what follows it, too: the time to end may have come with it."""
        while b"\n" not in self._received:
            if not (octets := self.socket.recv(65536)):
                os._exit(0)
            self._received += octets
        line, _, self._received = self._received.partition(b"\n")
        settings: dict[str, Any] = json.loads(line)
        self._take_lines()
        return settings

    def hear(self) -> None:
        """Take what the admin worker says: the time to end, by a line or by its own end."""
        octets = b""
        with suppress(ConnectionError):
            octets = self.socket.recv(65536)
        if not octets:
            self.over = True
            self.deadline = min(self.deadline, time.monotonic() + LAST)
        self._received += octets
        self._take_lines()

    def _take_lines(self) -> None:
        while b"\n" in self._received:
            line, _, self._received = self._received.partition(b"\n")
            said = json.loads(line)
            self.deadline = time.monotonic() + said["seconds"]
            self.empties = said["empties"]

    def say(self, counts: dict[str, Any]) -> None:
        """Send counts. Nobody may be left who reads them."""
        with suppress(OSError):
            self.socket.sendall(json.dumps(counts).encode() + b"\n")


class LastWords(logging.Handler):
    """Keeps the last warning of the library: its exporters say there why they failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line of the library's log."""
        self.text = " ".join(record.getMessage().split())[:300]


class Library:
    """OpenTelemetry's exporter, and what makes its spans of ours."""

    def __init__(self, settings: dict[str, Any]) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        attributes = {
            "service.name": settings["service_name"],
            "service.version": settings["version"],
            "host.name": socket.gethostname(),
        }
        self._resource = Resource.create({**attributes, **settings["resource"]})
        self._scope = InstrumentationScope("terraster", settings["version"])
        self._exporter = _grpc(settings) if settings["protocol"] == "grpc" else _http(settings)

    def export(self, batch: Sequence[Span]) -> bool:
        """True if the receiver took the spans. Waits."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        return bool(self._exporter.export([self._made(span) for span in batch]) is SpanExportResult.SUCCESS)

    def shutdown(self) -> None:
        """End repetitions."""
        self._exporter.shutdown()

    def _made(self, span: Span) -> Any:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.status import Status, StatusCode

        return ReadableSpan(
            span.name,
            context=_context(span.trace_id, span.span_id, False, span.state),
            parent=_context(span.trace_id, span.parent_id, span.is_remote, "") if span.parent_id else None,
            resource=self._resource,
            attributes=span.attributes,
            kind=SpanKind.SERVER if span.kind == SERVER else SpanKind.CLIENT,
            status=Status(StatusCode.ERROR, span.words or None) if span.failed else Status(),
            start_time=span.started,
            end_time=span.ended,
            instrumentation_scope=self._scope,
        )


def _context(trace_id: str, span_id: str, is_remote: bool, state: str) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags, TraceState

    pairs = [member.partition("=") for member in state.split(",")] if state else []
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote, TraceFlags(1), TraceState([(key, value) for key, _, value in pairs])
    )


def _http(settings: dict[str, Any]) -> Any:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(
        endpoint=settings["endpoint"],
        certificate_file=settings["ca_file"] or None,
        headers=settings["headers"],
        timeout=settings["timeout"],
        compression=Compression.Gzip if settings["compression"] == "gzip" else Compression.NoCompression,
    )


def _grpc(settings: dict[str, Any]) -> Any:
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    credentials = None
    if settings["endpoint"].startswith("https://"):
        roots = None
        if settings["ca_file"]:
            with open(settings["ca_file"], "rb") as file:
                roots = file.read()
        credentials = grpc.ssl_channel_credentials(roots)
    return OTLPSpanExporter(
        endpoint=settings["endpoint"],
        insecure=credentials is None,
        credentials=credentials,
        headers=tuple(settings["headers"].items()),
        timeout=settings["timeout"],
        compression=grpc.Compression.Gzip if settings["compression"] == "gzip" else grpc.Compression.NoCompression,
    )


def _run(waiting: Waiting, library: Library, words: LastWords) -> None:
    """Export until the end. In a thread of its own."""
    while batch := waiting.batch():
        words.text = ""
        try:
            ok = library.export(batch)
        except Exception as error:
            ok, words.text = False, f"{type(error).__name__}: {error}"[:300]
        waiting.done(len(batch), ok, words.text)


def _take(channel: int, control: Control, waiting: Waiting) -> None:
    """Take messages and report, until the admin worker ends the process."""
    told: dict[str, Any] = {}
    next_report = 0.0
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(control.socket, select.POLLIN)
    while control.deadline == inf:
        for descriptor, events in poll.poll(_TELL * 1000):
            if descriptor != channel:
                control.hear()
                if control.deadline < inf:
                    return
            elif events & select.POLLIN:
                _read(channel, waiting)
            else:  # no worker and no master is left
                control.deadline = time.monotonic() + LAST
                return
        now = time.monotonic()
        if now >= next_report:
            next_report = now + _TELL
            report = waiting.report()
            if report != told:
                control.say(report)
                told = report


def _read(channel: int, waiting: Waiting) -> bool:
    """Take a message. False if there is none: a process that follows this one may have taken it."""
    try:
        message = os.read(channel, _LARGEST)
    except BlockingIOError:
        return False
    waiting.take(message)
    return bool(message)


def main(channel: int, socket_of_admin: socket.socket) -> None:
    """The life of the process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    os.nice(5)
    control = Control(socket_of_admin)
    settings = control.settings()
    os.set_blocking(channel, False)
    words = LastWords()
    logging.getLogger().addHandler(words)
    waiting = Waiting()
    library = Library(settings)
    exporting = threading.Thread(target=_run, args=(waiting, library, words), daemon=True)
    exporting.start()
    _take(channel, control, waiting)
    until = time.monotonic() + _EMPTYING
    while control.empties and time.monotonic() < until and _read(channel, waiting):
        pass  # what workers sent before they ended
    waiting.end()
    poll = select.poll()
    poll.register(control.socket, select.POLLIN)
    while exporting.is_alive() and time.monotonic() < control.deadline:
        exporting.join(_LOOK)
        if not control.over and poll.poll(0):
            control.hear()
    report = waiting.report()
    control.say({**report, "dropped": report["taken"] - report["exported"]})
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])))
