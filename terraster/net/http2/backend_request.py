"""One request at a backend over HTTP/2: a stream of a shared connection, with the calls of `terraster.net.upstream.Upstream`."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from terraster.errors import BadResponse, HttpError, TimedOut
from terraster.net.body import Payload, RequestBody, Source
from terraster.wire.http1 import ResponseHead
from terraster.wire.http2.fields import trailer_block
from terraster.wire.http2.frames import CANCEL, NO_ERROR
from terraster.wire.names import may_trail

from .channel import Channel

if TYPE_CHECKING:
    from .backend_session import BackendSession
    from .shared_pool import SharedPool

__all__ = ["BackendRequest", "FrameSource"]


class BackendRequest(Channel):
    """A request that was sent, and the response to it.

    fault: why it is `gone`
    phase, since, doubtful: as in `Upstream`; it was idle if no other request was under way on the connection
    trailers: of the response, as (name, value)
    """

    __slots__ = ("doubtful", "fault", "phase", "since", "_heads")

    session: BackendSession
    framed = True

    def __init__(self, session: BackendSession, number: int, window: int) -> None:
        super().__init__(session, number, window)
        self.fault: HttpError
        self.doubtful = False
        self.phase = "response"
        self.since = inf
        self._heads: list[ResponseHead | BadResponse] = []

    @property
    def pool(self) -> SharedPool:
        """The pool of its connection."""
        return self.session.pool

    # ------------------------------------------------------------------------------------------------ told by the session, on the hub

    def got_head(self, head: ResponseHead | BadResponse) -> None:
        """A head has come: of the response, or an interim one."""
        self._heads.append(head)

    def fail(self, error: HttpError) -> None:
        """The stream has ended before its time, or after its response was complete."""
        if not self.gone:
            self.gone = True
            self.fault = error
            if self.writer is not None:
                self.writer.throw(error)

    # ----------------------------------------------------------------------------------------------------------------- the response

    def head(self, timeout: float) -> ResponseHead:
        """The next head: interim ones, then that of the response. timeout: seconds, 0 = no limit. Raises `HttpError`."""
        while not self._heads:
            if self.gone:
                raise self.fault
            self._wait_for_octets(timeout)
        head = self._heads.pop(0)
        if isinstance(head, BadResponse):
            raise head
        return head

    @property
    def trails(self) -> bool:
        """True if trailers follow a response without a body, or may follow."""
        return self.receiving or bool(self.trailers)

    @property
    def complete(self) -> bool:
        """True if the whole response has come, and all of its body is in `held`."""
        return self._ended

    # ------------------------------------------------------------------------------------------------------------------ the request

    def send_body(self, body: RequestBody, payload: bytes, timeout: float) -> None:
        """See `Upstream.send_body`."""
        if not body.done:
            self.write(payload, False, timeout)
            return
        trailers = [pair for pair in body.trailers if may_trail(pair[0], True)]
        block = trailer_block(trailers, body.drop) if trailers else b""
        if payload:
            self.write(payload, not block, timeout)
        if block or not payload:
            self.finish(block)

    def write(self, payload: Payload, end: bool, timeout: float) -> None:
        """See `Channel.write`."""
        if self.gone:
            raise self.fault
        Channel.write(self, payload, end, timeout)

    # ------------------------------------------------------------------------------------------------------------------- the end

    def give_back(self, look: bool) -> None:
        """The response has been read to its end."""
        self.session.finished(self, NO_ERROR)

    def close(self) -> None:
        """Nobody waits for the response any longer. Idempotent."""
        self.session.finished(self, CANCEL)

    def lost(self, reading: bool) -> HttpError:
        """See `Channel.lost`."""
        return self.fault

    def timed_out(self, writing: bool) -> HttpError:
        """See `Channel.timed_out`."""
        if writing:
            return TimedOut("the backend stopped reading", reason="connection_write_timeout")
        self.session.doubt()
        return TimedOut("the backend did not answer in time")

    def wait_no_longer_than(self, timeout: float) -> None:
        """See `terraster.net.stream.Stream.wait_no_longer_than`."""
        if self.reader is not None and timeout:
            self.read_deadline = self._deadline(timeout)


class FrameSource(Source):
    """A body in frames. The codec has compared its length with the head's Content-Length."""

    __slots__ = ("_rest",)

    _upstream: BackendRequest

    def __init__(self, upstream: BackendRequest, timeout: float) -> None:
        super().__init__(upstream, timeout)
        self._rest = b""

    def gather(self) -> None:
        """Read the body to its end before any of it is sent on, so that another backend can be asked if it breaks off. Raises `HttpError`."""
        parts = []
        while not self.done:
            parts.append(self._take())
        self._rest = parts[0] if len(parts) == 1 else b"".join(parts)

    def here(self) -> Payload:
        upstream = self._upstream
        if not self.done and (upstream.held or upstream.complete):
            return self._take()
        return self._rest

    def read(self, room: int) -> Payload:
        upstream = self._upstream
        held = upstream.held
        if len(held) > room:
            upstream.held = held[room:]
            return held[:room]
        return self._take()

    def _take(self) -> bytes:
        upstream = self._upstream
        data = upstream.recv(self._timeout)
        if upstream.complete and not upstream.held:
            self.done = self.reusable = True
            self.trailers = list(upstream.trailers)
        return data
