"""The server's side of HTTP/2: requests in, responses out (RFC 9113), with extended CONNECT (RFC 8441) and priorities (RFC 9218).

The cost of a client is bounded:

- At most `Limits.max_streams` requests are handed out and not yet `done`. A stream that the client has reset counts until then. Others are
  refused with REFUSED_STREAM, so that the client may send them again. So are those whose heads would exceed `Limits.head_octets` together
  with the heads of these; a request alone is never refused for that.
- A request whose stream ended by octets that were read with it is reported, but its ``stream.sending`` is False: it must not be started.
- A stream that the client resets, or makes us reset, is counted. It is made good by a stream that we ended, not by one that we reset.
- A body takes at most the window of its stream. All bodies of a connection that wait to be consumed take `Limits.buffered_octets`: once so
  many octets wait, the window of the connection is not given back as octets arrive, but as they are consumed.

An answer may be complete before its request is. RST_STREAM would be in order then (section 8.1), but curl loses the answer if it follows at
once. So the stream lingers when it is `done`: what arrives is thrown away, up to `Limits.linger_octets` and `Limits.linger_seconds`. The client
gets window for it at once. At most `Limits.max_streams` linger.
"""

from __future__ import annotations

from collections.abc import Callable

from terraster.errors import BadRequest

from .events import REQUEST, Event
from .fields import Http2Head, Malformed, request_head, trailer_lines
from .frames import (
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FIRST_WINDOW,
    FRAME_SIZE_ERROR,
    MOST,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    S_CONNECT_PROTOCOL,
    S_HEADER_LIST_SIZE,
    S_MAX_FRAME_SIZE,
    S_MAX_STREAMS,
    S_NO_PRIORITIES,
    S_WINDOW,
    SMALLEST_FRAME,
    STREAM_CLOSED,
    ConnectionFault,
    settings,
    window_update,
)
from .limits import Limits
from .priority import DEFAULT, parse_priority
from .session import ITSELF, Session
from .streams import Lingering, Stream

__all__ = ["ServerSession"]

_Field = tuple[bytes, bytes, int]

_LONGEST_KEPT = 1024
"""Octets of a block whose fields are kept for the next request: most requests of a connection repeat the one before."""


class ServerSession(Session):
    """A client's connection."""

    __slots__ = ("_make", "_early", "_fields", "_heads", "_priority_of_fields")

    def __init__(self, make: Callable[[int, int], Stream], limits: Limits) -> None:
        """make: called with a number and a window for each request that is handed out; see `Stream`."""
        super().__init__(limits)
        self._make = make
        self._early: dict[int, tuple[int, bool]] = {}  # priorities of streams that are not open yet
        self._fields: list[_Field] = []  # of the last request
        self._heads = 0  # octets of the heads that count in `working`
        self._priority_of_fields = DEFAULT
        self._preface = PREFACE
        pairs = [
            (S_MAX_STREAMS, limits.max_streams),
            (S_HEADER_LIST_SIZE, limits.header_list_size),
            (S_CONNECT_PROTOCOL, 1),
            (S_NO_PRIORITIES, 1),
        ]
        if limits.window != FIRST_WINDOW:
            pairs.append((S_WINDOW, limits.window))
        if limits.max_frame != SMALLEST_FRAME:
            pairs.append((S_MAX_FRAME_SIZE, limits.max_frame))
        self.out.append(settings(pairs))
        if self._credit > FIRST_WINDOW:
            self.out.append(window_update(0, self._credit - FIRST_WINDOW))

    def done(self, stream: Stream, code: int) -> None:
        """Nobody works for a request any longer. To be called exactly once for each REQUEST.

        code: the error code of the reset, if this side has not ended the stream yet.
        """
        self.working -= 1
        self._heads -= stream.head_size
        stream.abandoned = True
        if stream.unread:
            self._release(stream)
        if stream.answered and self._bounds:
            resets = self._bounds.get("resets")
            if resets is not None:
                resets.forgive()
        if not (stream.sending or stream.receiving):
            return
        if stream.sending:
            self.reset(stream, code)
            return
        self._linger(stream)
        if len(self.lingering) > self._limits.max_streams:
            self.reset(next(iter(self.lingering.values())).stream, NO_ERROR)

    def _linger(self, stream: Stream) -> None:
        """Give the client window at once for all that will be thrown away: curl 7.88 reads no WINDOW_UPDATE that is later than the answer."""
        octets = self._limits.linger_octets - stream.credit
        if octets > 0 and not 0 <= stream.expected - stream.got <= stream.credit:
            self.out.append(window_update(stream.id, octets))
            stream.credit += octets
        self.lingering[stream.id] = Lingering(stream)

    def forget(self) -> None:
        """Let go of all streams, because the connection is over, so that none of them refers to it in a circle. Nothing may be fed any more."""
        self.streams.clear()
        self.lingering.clear()
        self._make = Stream

    def _headers(self, number: int, flags: int, block: bytes, events: list[Event]) -> None:
        fields = self._fields_of(block)
        if number <= self.last:
            self._trailers(number, flags, fields, events)
            return
        if not number & 1:
            raise ConnectionFault(PROTOCOL_ERROR, "HEADERS on a stream that no client opens")
        self.last = number
        if self.working >= self._limits.max_streams or self.going:
            self._send_back(number)
            return
        end = flags & END_STREAM
        if flags & ITSELF:
            self._refuse(number, PROTOCOL_ERROR)
            return
        expected = -1
        connect = False
        head: Http2Head | BadRequest
        limits = self._limits
        if fields is None:
            head = BadRequest("request head too large", status=431)
            size = limits.header_list_size  # at least
        else:
            try:
                head = request_head(fields, bool(end), limits.header_count, limits.header_size)
                size = head.size
                expected = head.content_length
                connect = head.method == b"CONNECT"
            except Malformed:
                self._refuse(number, PROTOCOL_ERROR)
                return
            except BadRequest as error:
                head = error
                size = len(block)
        if self._heads and self._heads + size > limits.head_octets:
            self._send_back(number)
            return
        self._heads += size
        stream = self._make(number, self._initial)
        stream.head_size = size
        stream.expected = expected
        if connect:
            stream.connect = True
        if fields is not self._fields and fields is not None:
            self._fields = fields if len(block) <= _LONGEST_KEPT else []
            self._priority_of_fields = _priority(fields)
        if fields is not None and self._priority_of_fields is not DEFAULT:
            stream.urgency, stream.incremental = self._priority_of_fields
        if self._early and number in self._early:
            stream.urgency, stream.incremental = self._early.pop(number)
        stream.credit = self._first_credit
        if end:
            stream.receiving = False
        self.streams[number] = stream
        self.working += 1
        events.append((REQUEST, stream, head))

    def _send_back(self, number: int) -> None:
        """Refuse a request so that the client may send it again: section 8.7."""
        self._rst(number, REFUSED_STREAM)
        self._bounds["refused"].count(self._now)

    def _trailers(self, number: int, flags: int, fields: list[_Field] | None, events: list[Event]) -> None:
        """HEADERS on a stream that was opened before."""
        stream = self.streams.get(number)
        if stream is None:
            self._check_idle(number, "HEADERS")
            known = self._closed[number >> 1 & self._remembered]
            if known == -number:
                self._bounds["ignored"].count(self._now)
            elif known == number:
                raise ConnectionFault(STREAM_CLOSED, "HEADERS on a closed stream")
            else:  # section 5.1.1
                raise ConnectionFault(PROTOCOL_ERROR, "a new stream with a number below that of an earlier one")
        elif not stream.receiving:
            self._drop(stream, STREAM_CLOSED, events)
        elif fields is None:
            self._drop(stream, ENHANCE_YOUR_CALM, events)
        elif not flags & END_STREAM or flags & ITSELF or stream.connect or 0 <= stream.expected != stream.got:
            self._drop(stream, PROTOCOL_ERROR, events)
        else:
            try:
                lines = trailer_lines(fields)
            except Malformed:
                self._drop(stream, PROTOCOL_ERROR, events)
            else:
                self._complete(stream, lines, events)

    def _set(self, setting: int, value: int) -> None:
        """No other setting of a client means anything to a server that pushes nothing."""

    def _priority_update(self, payload: bytes) -> None:
        """RFC 9218, section 7.1."""
        if len(payload) < 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "PRIORITY_UPDATE of a wrong size")
        number = int.from_bytes(payload[:4], "big") & MOST
        if not number & 1:
            raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY_UPDATE of a stream that no client opens")
        stream = self.streams.get(number)
        if stream is not None:
            stream.urgency, stream.incremental = parse_priority(payload[4:])
        elif number > self.last:
            early = self._early
            early.pop(number, None)
            early[number] = parse_priority(payload[4:])
            if len(early) > self._limits.max_streams:
                del early[next(iter(early))]


def _priority(fields: list[_Field]) -> tuple[int, bool]:
    """By the Priority fields of a request, which are one list together."""
    found = b""
    for name, value, _ in fields:
        if name == b"priority":
            found = found + b", " + value if found else value
    return parse_priority(found) if found else DEFAULT
