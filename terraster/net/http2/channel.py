"""One stream of HTTP/2 as greenlets use it: straight-line `recv` and `write`, with deadlines, over the frames of its connection."""

from __future__ import annotations

from math import inf
from typing import Any

from greenlet import getcurrent, greenlet

from terraster.errors import HttpError
from terraster.net.body import Payload
from terraster.wire.http2.streams import Stream

__all__ = ["Channel"]

_APART = 1024
"""Octets from which on a payload that waits is an object of its own. Many small ones would take far more memory than their octets."""


class Channel(Stream):
    """A stream, and the codec's record of it: one object, because a second one would cost as much as the frame.

    session: its connection, an `terraster.net.http2.outlet.Outlet`
    spent:  octets of the body that were written since the stream gave way to others
    gone:   True if nothing can be sent or will come any longer, for a reason of the peer
    reader, writer: the greenlets that wait for the peer
    read_deadline, write_deadline: as in `terraster.net.stream.Stream`
    trailers: behind the body, of the kind that the codec reports with END
    """

    __slots__ = (
        "gone",
        "read_deadline",
        "reader",
        "session",
        "spent",
        "trailers",
        "write_deadline",
        "writer",
        "_ended",
        "_held",
        "_more",
        "__weakref__",
    )

    def __init__(self, session: Any, number: int, window: int) -> None:
        super().__init__(number, window)
        self.session = session
        self.spent = 0
        self.gone = False
        self.reader: greenlet | None = None
        self.writer: greenlet | None = None
        self.read_deadline = self.write_deadline = inf
        self.trailers: Any = b""
        self._ended = False
        self._held = b""
        self._more: list[bytes | bytearray] | None = None  # behind `_held`, if octets came while others were held

    # ------------------------------------------------------------------------------------------------------- what a subclass does

    def lost(self, reading: bool) -> HttpError:
        """The error for a stream that is `gone`."""
        raise NotImplementedError

    def timed_out(self, writing: bool) -> HttpError:
        """The error for a wait that exceeded its timeout."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------------ told by the session, on the hub

    def took(self, payload: bytes) -> None:
        """Octets of the body have come."""
        if not self._held:
            self._held = payload
        else:
            more = self._more
            if more is None:
                more = self._more = []
            if len(payload) >= _APART:
                more.append(payload)
            elif more and type(more[-1]) is bytearray:
                more[-1] += payload
            else:
                more.append(bytearray(payload))

    def took_all(self, trailers: Any) -> None:
        """The body has come to its end."""
        self.trailers = trailers
        self._ended = True

    def wake(self) -> None:
        """Let the greenlet go on that waits for what has come. On the hub."""
        reader = self.reader
        if reader is not None:
            self.reader = None
            reader.switch()

    # ------------------------------------------------------------------------------------------------------------------- reading

    @property
    def held(self) -> bytes:
        """The octets of the body that have come and are not used yet. Those that are taken out give the peer room for more."""
        if self._more is not None:
            self._held = b"".join((self._held, *self._more))
            self._more = None
        return self._held

    @held.setter
    def held(self, rest: bytes) -> None:
        used = len(self.held) - len(rest)
        self._held = rest
        if used > 0:
            self.session.codec.consumed(self, used)
            if self.session.codec.out:
                self.session.touch()

    def recv(self, timeout: float) -> bytes:
        """The octets that have come, at least one; b"" at the end. Waits ``timeout`` seconds at most (0: no limit)."""
        while not self._held:
            if self._ended:
                return b""
            if self.gone:
                raise self.lost(True)
            self._wait_for_octets(timeout)
        data, self.held = self.held, b""
        return data

    def _wait_for_octets(self, timeout: float) -> None:
        self.read_deadline = self._deadline(timeout)
        reader = self.reader = getcurrent()
        try:
            self.session.reactor.switch()
        finally:
            if self.reader is None or self.reader is reader:
                self.reader = None
                self.read_deadline = inf
                self._rest()

    def quick_ack(self) -> None:
        """See `terraster.net.stream.Stream.quick_ack`: nothing is to be acknowledged."""

    def abandon(self, reader: greenlet) -> None:
        """See `terraster.net.stream.Stream.abandon`."""
        if self.reader is reader:
            self.reader = None
            self.read_deadline = inf

    # ------------------------------------------------------------------------------------------------------------------- writing

    def room(self, timeout: float) -> int:
        """Wait until the peer and the socket take octets of the body, and return how many. timeout: seconds, 0 = no limit. Raises
        `HttpError`."""
        session = self.session
        while True:
            if self.gone:
                raise self.lost(False)
            if self.window <= 0:
                self._wait_for_room(timeout)
            elif session.blocked or session.codec.window <= 0:
                session.queue(self)
                self._wait_for_room(0.0)  # the session has the deadlines for the socket and for its own window
            else:
                return int(min(self.window, session.codec.window, session.share(self)))

    def _wait_for_room(self, timeout: float) -> None:
        self.write_deadline = self._deadline(timeout)
        self.writer = getcurrent()
        try:
            self.session.reactor.switch()
        finally:
            self.writer = None
            self.write_deadline = inf
            self.session.line.pop(self, None)
            self._rest()

    def write(self, payload: Payload, end: bool, timeout: float) -> None:
        """Send octets of the body. end: they are the last ones. Raises `HttpError`."""
        session = self.session
        codec = session.codec
        sent = 0
        if not session.blocked:  # it may be by now; those that are more urgent go first then
            sent = codec.data(self, payload, end)
            session.wrote(self, sent, type(payload) is memoryview)
        if sent < len(payload):
            rest = bytes(payload[sent:])
            while rest:
                self.room(timeout)
                sent = codec.data(self, rest, end)
                session.wrote(self, sent, False)
                rest = rest[sent:]

    def finish(self, block: bytes) -> None:
        """End this side, with a block of trailers or with nothing."""
        codec = self.session.codec
        if block:
            codec.head(self, block, True)
        else:
            codec.data(self, b"", True)
        self.session.touch()

    # ---------------------------------------------------------------------------------------------- as an end of a tunnel

    @property
    def stream(self) -> Any:
        """This end of a tunnel, with the calls of `terraster.net.stream.Stream` that a tunnel makes."""
        return self

    def send(self, data: bytes, timeout: float) -> None:
        """Send octets of a tunnel, as `terraster.net.stream.Stream.send`."""
        self.room(timeout)
        self.write(data, False, timeout)

    @property
    def writes(self) -> bool:
        """See `terraster.net.stream.Stream.writes`."""
        return self.writer is not None

    def peek(self) -> bytes | None:
        """See `terraster.net.stream.Stream.peek`."""
        return self._held[:1] or (b"" if self._ended or self.gone else None)

    def shutdown(self) -> None:
        """See `terraster.net.stream.Stream.shutdown`."""
        if not self.gone and self.sending:
            self.finish(b"")

    # ---------------------------------------------------------------------------------------------- as `terraster.net.reactor.Swept`

    def _deadline(self, timeout: float) -> float:
        reactor = self.session.reactor
        reactor.streams.add(self)
        return float(reactor.horizon + timeout if timeout >= 1.0 else reactor.deadline(self, timeout))

    def _rest(self) -> None:
        if self.read_deadline == self.write_deadline == inf:
            self.session.reactor.streams.discard(self)

    def next_deadline(self) -> float:
        """See `terraster.net.reactor.Waiter`."""
        return min(self.read_deadline, self.write_deadline)

    def overdue(self, now: float) -> None:
        """See `terraster.net.reactor.Waiter`."""
        if self.read_deadline < now and self.reader is not None:
            reader, self.reader = self.reader, None
            reader.throw(self.timed_out(False))
        if self.write_deadline < now and self.writer is not None:
            self.writer.throw(self.timed_out(True))
