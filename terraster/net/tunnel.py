"""Two connections joined after an Upgrade. Octets go both ways until the backend ends, the client is lost, or both are silent for too long.

If the client ends only its sending half, the tunnel ends that half towards the backend, which may still send its rest.

A tunnel whose configuration has gone, or whose worker drains, is ended by Terraster. A WebSocket ends right behind a frame towards the
client, so that a client which asks and waits for the answer loses nothing. So it does in a silence, unless the last octets came from the
client and may be a question. Both ends get a close frame, if the octets so far end with a whole frame.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf

from greenlet import getcurrent, greenlet

from terraster.errors import TerrasterError, TimedOut
from terraster.wire.websocket import GOING_AWAY, Frames, close_frame

from .connection import Connection
from .http2.request import Request
from .reactor import Reactor
from .upstream import Upstream

__all__ = ["FAREWELL", "Tunnel"]

FAREWELL = 5.0
"""Seconds that a tunnel which has to end waits at most for a good moment."""

_REPLY = 1.5  # seconds that the client's close frame is waited for
_SILENCE = 1.0  # seconds without an octet in either direction


class Tunnel:
    """Joins a client and a backend. octets_in, octets_out: number of octets to the backend and to the client.

    timeout: seconds without an octet in either direction after which the tunnel ends; 0 = never.
    leave_at: monotonic time from which on Terraster wants to end it; ``inf``: it may stay
    why: the reason, once Terraster has ended it
    inwards, outwards: the frames towards the backend and towards the client, for a WebSocket; else None
    """

    __slots__ = (
        "inwards",
        "leave_at",
        "octets_in",
        "octets_out",
        "outwards",
        "why",
        "_asked",
        "_broken",
        "_client",
        "_clock",
        "_failed",
        "_last",
        "_main",
        "_over",
        "_reason",
        "_reactor",
        "_timeout",
        "_upstream",
    )

    def __init__(self, reactor: Reactor, client: Connection | Request, upstream: Upstream, timeout: float, websocket: bool) -> None:
        self.inwards = Frames() if websocket else None
        self.outwards = Frames() if websocket else None
        self.leave_at = inf
        self.why = self._reason = ""
        self._asked = self._broken = False
        self.octets_in = 0
        self.octets_out = 0
        self._client = client
        self._upstream = upstream
        self._timeout = timeout
        self._reactor = reactor
        self._clock = reactor.clock
        self._last = self._clock()
        self._over = False
        self._failed: TerrasterError | None = None
        self._main: greenlet = getcurrent()

    def run(self) -> None:
        """Carry octets until the tunnel ends. The caller closes the connections. Raises the error that ended it, unless the backend ended
        it."""
        other = self._reactor.spawn(self._towards_backend)
        try:
            self._carry(self._upstream, self._client, False)
        except _Ended:
            self._say_goodbye(other)
        finally:
            self._over = True
            self._reactor.kill(other)

    def leave(self, at: float, why: str) -> None:
        """End at this monotonic time, or earlier if that was said before."""
        if not self.why and at < self.leave_at:
            self.leave_at, self._reason = at, why

    def end(self, now: float) -> None:
        """End the tunnel if it is silent, or if no good moment came for `FAREWELL`. The sweep calls this on the hub from `leave_at` on."""
        client, upstream = self._client.stream, self._upstream.stream
        writes = client.writes or upstream.writes
        waits = writes or self._asked or now - self._last < _SILENCE or not self._is_between()
        if waits and now < self.leave_at + FAREWELL:
            return
        self._broken = client.writes
        self._fail(self._ended())

    def _ended(self) -> _Ended:
        self.leave_at, self.why = inf, self._reason
        return _Ended()

    def _is_between(self) -> bool:
        return (self.inwards is None or self.inwards.between) and (self.outwards is None or self.outwards.between)

    def _say_goodbye(self, other: greenlet) -> None:
        """Close a WebSocket in both directions, where that is possible, and wait for the client's close frame (RFC 6455, section 7.1.1)."""
        self._over = True
        self._reactor.kill(other)
        inwards, outwards = self.inwards, self.outwards
        if inwards is None or outwards is None:
            return
        if inwards.between and not inwards.closed and not self._upstream.stream.writes:
            with suppress(TerrasterError):
                self._upstream.send(close_frame(GOING_AWAY, True), _REPLY)
        if not outwards.between or outwards.closed or self._broken:
            return
        frame = close_frame(GOING_AWAY, False)
        with suppress(TerrasterError):
            self._client.send(frame, _REPLY)
            self.octets_out += len(frame)
            end = self._clock() + _REPLY
            while not inwards.closed and (left := end - self._clock()) > 0:
                data = self._client.recv(left)
                if not data:
                    break
                inwards.feed(data)

    def _towards_backend(self) -> None:
        try:
            self._carry(self._client, self._upstream, True)
        except TerrasterError as error:
            self._reactor.loop.run_callback(self._fail, error)

    def _fail(self, error: TerrasterError) -> None:
        if not self._over:
            self._failed = error
            self._main.throw(error)

    def _carry(self, source: Connection | Request | Upstream, target: Connection | Request | Upstream, inwards: bool) -> None:
        frames = self.inwards if inwards else self.outwards
        while True:
            try:
                data = source.recv(self._timeout)
            except TimedOut as error:
                if error is not self._failed and self._clock() - self._last < self._timeout:  # the other direction is busy
                    continue
                raise
            if not data:
                target.stream.shutdown()
                return
            self._last = self._clock()
            self._asked = inwards
            if inwards:
                self.octets_in += len(data)
            else:
                self.octets_out += len(data)
            target.send(data, self._timeout)
            if frames is not None:
                frames.feed(data)
                if not inwards and self.leave_at < self._clock() and self._is_between() and self._client.stream.peek() is None:
                    raise self._ended()


class _Ended(TerrasterError):
    """Terraster ends the tunnel."""

    __slots__ = ()
