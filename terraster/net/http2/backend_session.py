"""An HTTP/2 connection to a backend, which requests share.

A callback on the hub reads, and wakes the greenlets of the requests when all frames of a read are known. No greenlet belongs to the
connection.

A connection that has died without a word is found by PING: when a request is sent after a silence, when requests wait in silence, and
when one has waited too long. It takes no new requests until it answers. Servers of gRPC end a connection whose client asks too often while
they send nothing (its proposal A8), so only the first PING of a silence comes soon.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

from terraster.errors import BadResponse, ConnectionLost, HttpError, TimedOut
from terraster.net.reactor import Wakeup
from terraster.net.stream import Stream
from terraster.net.tls import TlsStream
from terraster.wire.http2.client import ClientSession
from terraster.wire.http2.events import DATA, END, FAILED, GONE, INTERIM, PONG, RESET, RESPONSE, ROOM, Event
from terraster.wire.http2.frames import ERRORS, NO_ERROR, REFUSED_STREAM
from terraster.wire.http2.limits import Limits

from .backend_request import BackendRequest
from .outlet import Outlet

if TYPE_CHECKING:
    from .shared_pool import SharedPool

__all__ = ["BackendSession"]

_SILENCE = 10.0
"""Seconds of silence after which a PING asks if the backend is there."""

_CALM = 300.0
"""Seconds between two of them while nothing else comes: servers of gRPC take one in five minutes."""

_PATIENCE = 5.0
"""Seconds that an answer to a PING may take."""

_DOUBT = 1.0
"""Seconds without an answer to a PING after which no new requests are sent."""

_LOOKS = 2
"""Reads of a look at a connection: the last octets of the backend, and the end behind them."""

_ALIVE = b"is alive"

_STREAMS = 256
_WINDOW = 1 << 18
LIMITS = Limits(
    max_streams=_STREAMS,
    header_list_size=65536 + 32 * 250,
    header_size=65536,
    header_count=250,
    resets_per_second=1000.0,
    window=_WINDOW,
    connection_window=4 << 20,
    buffered_octets=_STREAMS * _WINDOW,
    max_frame=65536,
)
"""Limits for backends. The responses of all streams together fit into the window of the connection, so no slow client holds another one."""


class BackendSession(Outlet):
    """A connection to a backend.

    pool:     has admitted it
    since:    monotonic time at which it became idle; ``inf`` before the first time
    """

    __slots__ = ("pool", "since", "_asked_at", "_heard_at", "_next_ping", "_stalls_at")

    codec: ClientSession

    def __init__(self, stream: Stream | TlsStream, plain: Stream, pool: SharedPool, timeout: float, allowed: int) -> None:
        """stream: connected. timeout: seconds between two octets that the backend takes, 0 = no limit. allowed: requests that may be sent
        before the backend's settings have come."""
        super().__init__(stream, plain, ClientSession(self._make, LIMITS, allowed), timeout)
        self.pool = pool
        self.since = inf
        self._asked_at = inf  # when the PING without an answer was sent
        self._heard_at = self.reactor.clock()
        self._next_ping = _SILENCE
        self._stalls_at = inf
        plain.owner = self
        self.codec.feed(b"", self._heard_at)
        self.touch()
        self._stream.attend(self._readable)
        self._run_callback(self._readable)  # TLS may hold octets that came behind the handshake
        self._watch()

    def _make(self, number: int, window: int) -> BackendRequest:
        return BackendRequest(self, number, window)

    # ------------------------------------------------------------------------------------------------------------------ requests

    @property
    def room(self) -> int:
        """How many more requests it takes now."""
        if self._ended or self.reactor.clock() - self._asked_at > _DOUBT:
            return 0
        return self.codec.room

    def request(self, block: bytes, method: bytes, end: bool) -> BackendRequest:
        """Send a request. Only if there is `room`. block: of its head. end: True if no body follows."""
        request = self.codec.open(block, method, end)
        assert isinstance(request, BackendRequest)
        if not self.requests:
            request.since = self.since
            if self.reactor.clock() - self._heard_at > _SILENCE:
                self._ping()
            self._watch()
        self.requests.add(request)
        self.touch()
        return request

    def look(self) -> None:
        """Take in what has arrived since the last turn of the loop: maybe the end of the connection. While requests are under way, which what
        has arrived wakes, that is done on the hub, and the caller waits for it."""
        for _ in range(_LOOKS):
            if self._ended or self.plain.peek() is None:
                return
            if self.requests:
                wakeup = Wakeup(self.reactor)
                self._run_callback(self._read_for, wakeup)
                wakeup.wait(_SILENCE)
            else:
                self._readable()

    def _read_for(self, wakeup: Wakeup) -> None:
        self._readable()
        wakeup.wake()

    def finished(self, request: BackendRequest, code: int) -> None:
        """A request is over. code: of the reset if its stream has not ended. Idempotent."""
        if request not in self.requests:
            return
        self.requests.discard(request)
        if self._ended:
            return
        self.codec.done(request, code)
        if self.codec.out:
            self.touch()
        if not self.requests:
            if self.codec.going or self.pool.closed:
                self._run_callback(self._leave)
            else:
                self.pool.rests(self)
        self.pool.stir()

    # ------------------------------------------------------------------------------------------------------------------- reading

    def _readable(self) -> None:
        if self._ended:
            return
        try:
            data = self._stream.recv_now()
        except HttpError as error:
            self._end(error)
            return
        if data:
            now = self.reactor.clock()
            if not self.codec.settled and data[:5] == b"HTTP/":
                self._end(BadResponse("the backend speaks HTTP/1.1, and not HTTP/2 as configured"))
                return
            self._heard_at = now
            self._asked_at = inf
            settled = self.codec.settled
            self._handle(self.codec.feed(data, now))
            if not settled and self.codec.settled:
                self.pool.settled(self)
        elif data is not None:
            self._end(ConnectionLost("the backend closed the connection"))

    def _handle(self, events: list[Event]) -> None:
        """Tell the requests of events. On the hub, or while there are no requests."""
        woken: dict[BackendRequest, None] = {}
        room = False
        request: BackendRequest
        for kind, stream, value in events:
            if stream is None:
                if kind == ROOM:
                    room = True
                elif kind == FAILED:
                    self._end(BadResponse(f"the backend broke a rule of HTTP/2: {value[1]}"))
                    return
                elif kind == GONE:
                    self.pool.left_out(self)
                elif kind == PONG:
                    self._next_ping = _CALM
                continue
            request = stream  # type: ignore[assignment]
            if kind == ROOM:
                if request.writer is not None and request not in self.line and request.window > 0:
                    request.writer.switch()
                continue
            if kind == DATA:
                request.took(value)
            elif kind == END:
                request.took_all(value)
            elif kind in (INTERIM, RESPONSE):
                request.got_head(value)
            elif kind == RESET:
                request.fail(self._reset(request, value))
            woken[request] = None
            self._next_ping = _SILENCE
        for request in woken:
            request.wake()
        if self._ended:
            return
        if room and self.line:
            self._next()
        if self.codec.out:
            self.touch()
        self.pool.stir()
        if not self.requests and self.codec.going:
            self._leave()

    def _reset(self, request: BackendRequest, code: int) -> HttpError:
        """The error of a request whose stream the backend ended, or had us end by a fault. If the backend has begun to answer, it has worked on
        the request, whatever it says."""
        name = ERRORS[code] if code < len(ERRORS) else f"error {code}"
        if code != REFUSED_STREAM and self.codec.broke(request):
            return BadResponse(f"the backend broke a rule of HTTP/2 in its response ({name})")
        error = ConnectionLost(f"the backend ended the stream of the request ({name})")
        error.unsent = code == REFUSED_STREAM and not (request.headed or request.interims)
        error.ended = (
            error.unsent and self.codec.going
        )  # the backend stops or restarts: it may take the request on a new connection
        return error

    # ------------------------------------------------------------------------------------------------------------------- the clock

    def _ping(self) -> None:
        if self._asked_at == inf:
            self._asked_at = self.reactor.clock()
            self.codec.ping(_ALIVE)
            self.touch()
            self._watch()

    def doubt(self) -> None:
        """A request has waited for too long: find out if the backend is there, unless it said something meanwhile."""
        if not self._ended and self.reactor.clock() - self._heard_at > _DOUBT:
            self._ping()

    def _sweep(self, now: float) -> None:
        if now - self._asked_at > _PATIENCE:
            self._readable()  # after a standstill of this process the sweep may come before the answer is read
        if self._ended:
            return
        if now - self._asked_at > _PATIENCE:
            self._end(TimedOut("the backend does not answer a PING", reason="connection_timeout"))
            return
        if now > self._stalls_at:
            self._end(TimedOut("the backend stopped reading", reason="connection_write_timeout"))
            return
        if self.requests and now - self._heard_at > self._next_ping:
            self._ping()
        self._handle(self.codec.sweep(now))
        if self.requests or self._asked_at < inf or self.blocked or self.codec.awaiting < inf:
            self._watch()

    # ------------------------------------------------------------------------------------------------------------------- the end

    def _stalled(self) -> None:
        self._stalls_at = self.reactor.horizon + self._timeout
        self._watch()

    def _flows(self) -> None:
        if not self.blocked:  # what waited behind those octets may have filled the socket again
            self._stalls_at = inf

    def _over(self) -> None:
        self._readable()  # a GOAWAY that came before the end says which requests may be sent again
        self._end(ConnectionLost("the backend closed the connection"))

    def _leave(self) -> None:
        """End a connection without requests."""
        if not (self.requests or self._ended):
            self.close()

    def close(self) -> None:
        """End an idle connection."""
        if not self._ended:
            self.codec.goaway(NO_ERROR, 0)
            self._end(ConnectionLost("Terraster closed the connection"))

    def _end(self, error: HttpError) -> None:
        """End the connection, and all its requests by an error. On the hub, or while there are no requests."""
        if self._ended:
            return
        self._ended = True
        self.read_deadline = self.write_deadline = inf
        self.reactor.streams.discard(self)
        with suppress(HttpError):
            if not (self.plain.closed or self.blocked):
                self._stream.send_now(b"".join(self.codec.out))
        self.codec.out.clear()
        self._stream.close()
        self.pool.gone(self)
        requests = list(self.requests)
        for request in requests:
            request.fail(error)
        for request in requests:
            request.wake()
        self.codec.forget()

    # ------------------------------------------------------------------------------------------- as `terraster.net.stream.Owner`

    def unexpected(self) -> None:
        """See `terraster.net.stream.Owner`: a callback reads, so nothing is unexpected."""

    def timed_out(self, writing: bool) -> HttpError:
        """See `terraster.net.stream.Owner`."""
        return TimedOut("the backend stopped reading", reason="connection_write_timeout")

    def waits_for_head(self) -> bool:
        """See `terraster.net.stream.Owner`."""
        return False

    def lost(self) -> HttpError:
        """See `terraster.net.stream.Owner`."""
        return ConnectionLost("the backend closed the connection")
