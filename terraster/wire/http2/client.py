"""The client's side of HTTP/2, towards a backend: requests out, responses in (RFC 9113), with extended CONNECT (RFC 8441).

A request may be sent again elsewhere if it is certain that the backend has not worked on it: its stream ended by RESET with REFUSED_STREAM.
That is also what is reported for each stream above the last one that a GOAWAY names (section 8.7). After any other end the backend may have
worked on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from terraster.errors import BadResponse

from .backend_fields import response_head, response_trailers
from .events import INTERIM, RESET, RESPONSE, Event
from .frames import (
    CANCEL,
    END_STREAM,
    FIRST_WINDOW,
    MOST,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    S_CONNECT_PROTOCOL,
    S_ENABLE_PUSH,
    S_HEADER_LIST_SIZE,
    S_MAX_FRAME_SIZE,
    S_MAX_STREAMS,
    S_WINDOW,
    SMALLEST_FRAME,
    STREAM_CLOSED,
    ConnectionFault,
    settings,
    window_update,
)
from .hpack.static_table import Field
from .limits import Limits
from .session import ITSELF, Session
from .streams import Stream

__all__ = ["ClientSession"]

_FEW_FRAMES = 8
_MOST_ON_ITS_WAY = 1 << 20
"""Frames of responses that are no longer wanted: one of 512 octets for all that the windows allow, and a few."""

_MOST_INTERIM = 32
"""Interim responses to a request."""


class ClientSession(Session):
    """A connection to a backend. `feed` with no octets starts the wait for the backend's settings.

    settled: True once the backend's settings are known. connect_protocol: True if the backend takes extended CONNECT.
    """

    __slots__ = ("connect_protocol", "_allowed", "_make", "_most_streams")

    def __init__(self, make: Callable[[int, int], Stream], limits: Limits, allowed: int = 100) -> None:
        """make: called with a number and a window for each request. limits: ``max_streams`` is a limit for this side, too. allowed: requests
        that may be sent before the backend's settings have come; no backend should allow fewer than 100 (RFC 9113, section 6.5.2)."""
        super().__init__(limits)
        self.connect_protocol = False
        self._make = make
        self._allowed = allowed
        self._most_streams = limits.max_streams
        self._promised = 0  # no stream of the backend is ever worked on
        pairs = [(S_ENABLE_PUSH, 0), (S_HEADER_LIST_SIZE, limits.header_list_size)]
        if limits.window != FIRST_WINDOW:
            pairs.append((S_WINDOW, limits.window))
        if limits.max_frame != SMALLEST_FRAME:
            pairs.append((S_MAX_FRAME_SIZE, limits.max_frame))
        self.out += (PREFACE, settings(pairs))
        if self._credit > FIRST_WINDOW:
            self.out.append(window_update(0, self._credit - FIRST_WINDOW))

    @property
    def room(self) -> int:
        """How many more requests may be sent now. It grows when streams end and when the backend allows more."""
        if self.going or self.failed >= 0 or self.last > MOST - 2:
            return 0
        return max(0, self.allowed - len(self.streams))

    @property
    def allowed(self) -> int:
        """How many requests may be under way at once."""
        return min(self._most_streams if self._settled else self._allowed, self._limits.max_streams)

    @property
    def settled(self) -> bool:
        return self._settled

    @property
    def heard(self) -> float:
        """When octets were read last, by the clock of `feed`; -1 before. After a silence `ping` asks if the backend is alive."""
        return self._now

    def open(self, block: bytes, method: bytes, end: bool) -> Stream:
        """Send a request. Only if there is `room`. block: of its head. end: True if no body follows."""
        number = self.last = self.last + 2 if self.last else 1
        stream = self._make(number, self._initial)
        stream.method = method
        stream.headed = False
        stream.interims = 0
        stream.credit = self._first_credit
        stream.expected = 0  # no DATA before the head
        self.streams[number] = stream
        self.working += 1
        self.head(stream, block, end)
        return stream

    def done(self, stream: Stream, code: int = CANCEL) -> None:
        """Nobody waits for a response any longer. To be called exactly once for each request.

        code: the error code of the reset, if the stream has not ended.
        """
        self.working -= 1
        stream.abandoned = True
        if stream.unread:
            self._release(stream)
        if stream.headed and not stream.receiving:
            resets = self._bounds.get("resets")
            if resets is not None:
                resets.forgive()
        elif stream.receiving and stream.credit > 0:
            self._on_its_way = min(self._on_its_way + _FEW_FRAMES + (stream.credit >> 9), _MOST_ON_ITS_WAY)
        self.reset(stream, code)

    def forget(self) -> None:
        """Let go of all streams, because the connection is over, so that none of them refers to it in a circle. Nothing may be fed any more."""
        self.streams.clear()
        self._make = Stream

    def _headers(self, number: int, flags: int, block: bytes, events: list[Event]) -> None:
        fields = self._fields_of(block)
        stream = self.streams.get(number)
        if stream is None:
            self._check_idle(number, "HEADERS")
            if self._closed[number >> 1 & self._remembered] == number:
                raise ConnectionFault(STREAM_CLOSED, "HEADERS on a closed stream")
            self._late()
        elif not stream.receiving:
            self._drop(stream, STREAM_CLOSED, events)
        elif flags & ITSELF:
            self._drop(stream, PROTOCOL_ERROR, events)
        else:
            try:
                if fields is None:
                    raise BadResponse("response head too large")
                if stream.headed:
                    self._trailers(stream, flags, fields, events)
                else:
                    self._response(stream, flags, fields, events)
            except BadResponse as error:
                if not stream.headed:
                    events.append((RESPONSE, stream, error))
                self._drop(stream, PROTOCOL_ERROR, events)

    def _response(self, stream: Stream, flags: int, fields: list[Field], events: list[Event]) -> None:
        """A response head, or an interim one. Raises `BadResponse`."""
        end = flags & END_STREAM
        limits = self._limits
        head = response_head(fields, stream.method, bool(end), limits.header_count, limits.header_list_size)
        if head.status < 200:
            stream.interims += 1
            if stream.interims > _MOST_INTERIM:
                raise BadResponse("too many interim responses")
            events.append((INTERIM, stream, head))
            return
        stream.headed = True
        if stream.method == b"CONNECT" and head.status < 300:
            stream.connect = True
            stream.expected = -1
        elif not head.no_body:
            stream.expected = head.content_length
        events.append((RESPONSE, stream, head))
        if end:
            stream.receiving = False
            if not stream.sending:
                self._over(stream)

    def _trailers(self, stream: Stream, flags: int, fields: list[Field], events: list[Event]) -> None:
        """Raises `BadResponse`."""
        if not flags & END_STREAM:
            raise BadResponse("a second response head, or trailers that do not end the response")
        if stream.connect:
            raise BadResponse("trailers on a tunnel")
        if 0 <= stream.expected != stream.got:
            raise BadResponse("a body that is shorter than its Content-Length")
        self._complete(stream, response_trailers(fields), events)

    def _complete(self, stream: Stream, trailers: Any, events: list[Event]) -> None:
        if stream.headed:
            Session._complete(self, stream, trailers or (), events)
        else:
            self._drop(stream, PROTOCOL_ERROR, events)

    def _goaway(self, number: int, payload: bytes, events: list[Event]) -> None:
        Session._goaway(self, number, payload, events)
        self.going = True
        last = self._peer_last
        for stream in list(self.streams.values()):
            if stream.id > last:
                del self.streams[stream.id]
                self._lost(stream)
                self._closed[stream.id >> 1 & self._remembered] = -stream.id  # what may still come for it is ignored
                events.append((RESET, stream, REFUSED_STREAM))

    def _set(self, setting: int, value: int) -> None:
        if setting == S_MAX_STREAMS:
            self._most_streams = value
        elif setting == S_ENABLE_PUSH:
            if value:
                raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH of a server")
        elif setting == S_CONNECT_PROTOCOL:
            if self.connect_protocol and not value:  # RFC 8441, section 3
                raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS_ENABLE_CONNECT_PROTOCOL taken back")
            self.connect_protocol = bool(value)

    def _priority_update(self, payload: bytes) -> None:
        raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY_UPDATE of a server")  # RFC 9218, section 7.1
