"""Relay a response body through a transform.

The transform may hold octets back. When the backend pauses for `PAUSE` seconds, the transform gives out what it has. So the client gets all
octets of a slow backend, at most that much later. The head waits in the same way for the first octets behind it.

A call of the transform keeps the whole worker waiting. So it gets pieces of a size that the transform learns from the time of its calls, and
after `HOLD` seconds in such calls the other greenlets have a turn.
"""

from __future__ import annotations

from greenlet import getcurrent

from terraster.wire.transform import Payload, Transform, Watch, resizes

from .body import PlainSink, Source
from .reactor import Reactor

__all__ = ["HOLD", "PAUSE", "relay_transformed"]

PAUSE = 0.01
"""Seconds without an octet of the backend after which the transform is flushed."""

HOLD = 0.0004
"""Seconds of calls after which the other greenlets have a turn."""


class _Paused(Exception):
    """Thrown into the greenlet that waits for the backend."""

    __slots__ = ()


def relay_transformed(source: Source, sink: PlainSink, transform: Transform, reactor: Reactor) -> None:
    """Relay a response body to its end. Raises `HttpError`; then the client has no end of the body."""
    if isinstance(transform, Watch) and not resizes(transform):
        _relay_watched(source, sink, transform)
        return
    try:
        _Relay(source, sink, transform, reactor).run()
    finally:
        transform.over()


def _relay_watched(source: Source, sink: PlainSink, watch: Watch) -> None:
    """Relay a body that stays as it is. Nothing is held back, the head included."""
    payload = source.here()
    while not source.done:
        watch.feed(payload)
        sink.write(payload)
        payload = source.read(min(sink.room(), watch.piece))
    watch.end(payload)
    sink.end(payload, source.trailers)


class _Relay:
    """held: True if the client waits for the head, or the transform for more payload. spent: seconds in calls since the last turn of others."""

    __slots__ = ("_held", "_reactor", "_sink", "_source", "_spent", "_transform")

    def __init__(self, source: Source, sink: PlainSink, transform: Transform, reactor: Reactor) -> None:
        self._held = True
        self._reactor = reactor
        self._sink = sink
        self._source = source
        self._spent = 0.0
        self._transform = transform

    def run(self) -> None:
        source, sink, transform = self._source, self._sink, self._transform
        payload = source.here()
        while True:
            if len(payload) > transform.piece:
                payload = self._all_but_the_last(bytes(payload))
            if source.done:
                break
            if payload:
                out = self._feed(payload)
                if out:
                    sink.write(out)
                self._breathe()
            payload = self._read()
        begun = self._reactor.clock()
        out = transform.end(payload)
        transform.took(len(payload), self._reactor.clock() - begun)
        sink.end(out, source.trailers)

    def _all_but_the_last(self, payload: bytes) -> Payload:
        """Feed a long payload in pieces, and return the last one."""
        view = memoryview(payload)
        while len(view) > self._transform.piece:
            size = self._transform.piece
            out = self._feed(view[:size])
            if out:
                self._sink.write(out)
            self._breathe()
            view = view[size:]
        return view

    def _feed(self, payload: Payload) -> bytes:
        transform, clock = self._transform, self._reactor.clock
        begun = clock()
        out = transform.feed(payload)
        took = clock() - begun
        transform.took(len(payload), took)
        self._spent += took
        self._held = True
        return out

    def _breathe(self) -> None:
        if self._spent >= HOLD:
            self._spent = 0.0
            self._reactor.sleep(0.0)

    def _read(self) -> Payload:
        """The next payload. Flushes if the backend pauses."""
        source, room = self._source, min(self._sink.room(), self._transform.piece)
        if not self._held:
            return source.read(room)
        loop = self._reactor.loop
        loop.update_now()  # timers count from when the loop last woke
        timer = loop.timer(PAUSE)
        timer.start(getcurrent().throw, _Paused)
        try:
            return source.read(room)
        except _Paused:
            pass
        finally:
            timer.stop()
            timer.close()
        self._held = False
        self._sink.write(self._transform.flush())
        return source.read(room)
