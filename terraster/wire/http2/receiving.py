"""The half of an HTTP/2 session that obeys frames: what each kind does to a stream or to the connection, and the errors that it may be.

A broken rule is a connection error (`ConnectionFault`; GOAWAY follows, and the session is over) or a stream error (RST_STREAM): as RFC 9113
says, and where it leaves the choice, a connection error. A stream error is reported as RESET if the stream had been handed out. It counts
as if the peer had reset the stream, because it made us do so (CVE-2025-8671).
"""

from __future__ import annotations

from math import inf
from typing import Any

from .bounds import Bounds, exceeded
from .events import DATA as DATA_EVENT
from .events import END, GONE, PONG, RESET, ROOM, Event
from .frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    FIRST_WINDOW,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    LONGEST_FRAME,
    MOST,
    NO_ERROR,
    PADDED,
    PING,
    PRIORITY,
    PRIORITY_UPDATE,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    S_CONNECT_PROTOCOL,
    S_ENABLE_PUSH,
    S_HEADER_TABLE_SIZE,
    S_MAX_FRAME_SIZE,
    S_NO_PRIORITIES,
    S_WINDOW,
    SETTINGS,
    SETTINGS_ACK,
    SMALLEST_FRAME,
    STREAM_CLOSED,
    ConnectionFault,
    frame,
    unpadded,
)
from .limits import Limits
from .sending import Sending
from .streams import Stream

__all__ = ["FIRST_TABLE", "Receiving"]

FIRST_TABLE = 4096
"""The dynamic table of HPACK before any setting, octets; ours stays so."""

_SHRINK_TABLE = b"\x20"
"""The instruction of HPACK that makes the dynamic table empty (RFC 7541, section 6.3)."""

_LONGEST_SENT = 65536
"""Octets of payload in a frame, even if the peer takes more: a small response waits behind at most one frame of a large one."""

_MOST_SETTINGS = 32
_MOST_CONTINUATIONS = 32
_MOST_EARNED = 4096
_BOOLEANS = frozenset((S_ENABLE_PUSH, S_CONNECT_PROTOCOL, S_NO_PRIORITIES))


class Receiving(Sending):
    """The effect of each frame, as far as it is the same on both sides.

    awaiting: when the settings of this side were sent, as far as a clock was given; inf once the peer has acknowledged them.
    """

    __slots__ = (
        "awaiting",
        "_now",
        "_bounds",
        "_settled",
        "_block",
        "_initial",
        "_first_credit",
        "_most_block",
        "_peer_last",
        "_on_its_way",
    )

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.awaiting = inf
        self._now = -1.0
        self._bounds = Bounds(limits)
        self._settled = False  # the peer's first SETTINGS has arrived
        self._block: list[Any] | None = None  # that CONTINUATION continues: number, flags, octets, frames, when it began
        self._initial = FIRST_WINDOW  # octets that may be sent on a new stream
        self._first_credit = max(limits.window, FIRST_WINDOW)  # that the peer may send on one: our setting, once it is acknowledged
        self._most_block = max(2 * limits.header_list_size, SMALLEST_FRAME)
        self._peer_last = MOST  # the stream that the peer's last GOAWAY named
        self._on_its_way = 0  # frames that the peer sent before it knew of a reset of ours, at most

    # ------------------------------------------------------------------------------------------------- what the sides differ in

    def _headers(self, number: int, flags: int, block: bytes, events: list[Event]) -> None:
        """A whole block of fields. flags: of its HEADERS frame, perhaps with `ITSELF`."""
        raise NotImplementedError

    def _set(self, setting: int, value: int) -> None:
        """A setting of the peer that only one side obeys."""
        raise NotImplementedError

    def _priority_update(self, payload: bytes) -> None:
        """A PRIORITY_UPDATE frame on the connection."""
        raise NotImplementedError

    def _data(self, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        """Section 6.1. The padding counts for the windows, too."""
        length = len(payload)
        self._credit -= length
        if self._credit < 0:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "more DATA than the window of the connection")
        self._taken += length
        if self._taken >= self._give_connection:
            self._replenish_connection()
        if flags & PADDED:
            payload = unpadded(payload)
        stream = self.streams.get(number)
        if stream is None:
            self._check_idle(number, "DATA")
            if self._closed[number >> 1 & self._remembered] == -number:
                self._late()
            else:
                self._refuse(number, STREAM_CLOSED)
            return
        if not stream.receiving:
            self._drop(stream, STREAM_CLOSED, events)
            return
        size = len(payload)
        stream.credit -= length
        stream.got += size
        end = flags & END_STREAM
        if stream.credit < 0:
            self._drop(stream, FLOW_CONTROL_ERROR, events)
            return
        if 0 <= stream.expected != stream.got and (end or stream.got > stream.expected):  # section 8.1.1
            self._drop(stream, PROTOCOL_ERROR, events)
            return
        if size:
            if stream.abandoned:
                self._swallow(stream, length, end)
                return
            stream.unread += size
            self._unread += size
            events.append((DATA_EVENT, stream, payload))
        elif not end:
            self._bounds["empty_data"].count(self._now)
        if end:
            self._complete(stream, b"", events)
        elif length != size:
            stream.taken += length - size
            if stream.taken >= self._give:
                self._replenish(stream)

    def _swallow(self, stream: Stream, octets: int, end: int) -> None:
        """Throw away octets of the body of a lingering stream."""
        if end:
            stream.receiving = False
            self._over(stream)
            return
        lingering = self.lingering[stream.id]
        lingering.octets += octets
        if lingering.octets >= self._limits.linger_octets:
            self.reset(stream, NO_ERROR)

    def _complete(self, stream: Stream, trailers: Any, events: list[Event]) -> None:
        """The peer has sent END_STREAM."""
        stream.receiving = False
        if not stream.abandoned:
            events.append((END, stream, trailers))
        if not stream.sending:
            self._over(stream)

    def _window_update(self, number: int, payload: bytes, events: list[Event]) -> None:
        """Section 6.9."""
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "WINDOW_UPDATE of a wrong size")
        self._small("window_updates")
        more = int.from_bytes(payload, "big") & MOST
        if not number:
            if not more:
                raise ConnectionFault(PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
            before = self.window
            self.window += more
            if self.window > MOST:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "the window of the connection above 2^31-1")
            if before <= 0 < self.window:
                events.append((ROOM, None, None))
            return
        stream = self.streams.get(number)
        if stream is None:
            self._check_idle(number, "WINDOW_UPDATE")
        elif not more:
            self._drop(stream, PROTOCOL_ERROR, events)
        else:
            self._widen(stream, more, events)
            if stream.window > MOST:
                self._drop(stream, FLOW_CONTROL_ERROR, events)

    def _widen(self, stream: Stream, more: int, events: list[Event]) -> None:
        """Change the window of a stream by so many octets."""
        before = stream.window
        stream.window += more
        if before <= 0 < stream.window and stream.sending:
            events.append((ROOM, stream, None))

    def _rare(self, kind: int, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        """A frame of any other kind."""
        if kind == SETTINGS:
            self._settings(number, flags, payload, events)
        elif kind == RST_STREAM:
            self._rst_stream(number, payload, events)
        elif kind == PING:
            self._ping(number, flags, payload, events)
        elif kind == CONTINUATION:
            self._continuation(number, flags, payload, events)
        elif kind == PRIORITY:
            self._priority(number, payload, events)
        elif kind == GOAWAY:
            self._goaway(number, payload, events)
        elif kind == PUSH_PROMISE:  # section 8.4: no client may send it, and ours forbids it
            raise ConnectionFault(PROTOCOL_ERROR, "PUSH_PROMISE")
        elif kind == PRIORITY_UPDATE:
            if number:
                raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY_UPDATE on a stream")
            self._small("priorities")
            self._priority_update(payload)
        else:  # section 5.5
            self._bounds["ignored"].count(self._now)

    def _settings(self, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        """Section 6.5."""
        length = len(payload)
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS on a stream")
        if length % 6 or (flags & ACK and length):
            raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS of a wrong size")
        self._bounds["settings"].count(self._now)
        if flags & ACK:
            if self.awaiting != inf:
                self.awaiting = inf
                self._acknowledged()
            return
        if length > 6 * _MOST_SETTINGS:
            raise exceeded("settings")
        self._settled = True
        for at in range(0, length, 6):
            setting = int.from_bytes(payload[at : at + 2], "big")
            value = int.from_bytes(payload[at + 2 : at + 6], "big")
            if setting == S_WINDOW:
                self._initial_window(value, events)
            elif setting == S_MAX_FRAME_SIZE:
                if not SMALLEST_FRAME <= value <= LONGEST_FRAME:
                    raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE out of its range")
                self.frame = min(value, _LONGEST_SENT)
            elif setting == S_HEADER_TABLE_SIZE:
                if value < FIRST_TABLE:  # RFC 7541, section 4.2: the next block must say that it obeys
                    self._prefix = _SHRINK_TABLE
            elif setting in _BOOLEANS and value > 1:
                raise ConnectionFault(PROTOCOL_ERROR, "a setting that is neither 0 nor 1")
            else:
                self._set(setting, value)
        self.out.append(SETTINGS_ACK)

    def _acknowledged(self) -> None:
        """The peer obeys our settings from now on: streams before that began with 65,535 octets of window (section 6.9.2)."""
        less = self._first_credit - self._limits.window
        if less:
            self._first_credit -= less
            for stream in self.streams.values():
                stream.credit -= less

    def _initial_window(self, value: int, events: list[Event]) -> None:
        """The peer's windows of streams have another size, of the streams that are open too (section 6.9.2)."""
        if value > MOST:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1")
        more = value - self._initial
        if more:
            self._initial = value
            for stream in self.streams.values():
                self._widen(stream, more, events)
                if stream.window > MOST:
                    raise ConnectionFault(FLOW_CONTROL_ERROR, "a window above 2^31-1 by SETTINGS_INITIAL_WINDOW_SIZE")

    def _rst_stream(self, number: int, payload: bytes, events: list[Event]) -> None:
        """Section 6.4."""
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "RST_STREAM of a wrong size")
        stream = self.streams.pop(number, None)
        if stream is None:
            self._check_idle(number, "RST_STREAM")
            self._small("ignored")
            return
        self._lost(stream)
        if not stream.abandoned:
            events.append((RESET, stream, int.from_bytes(payload, "big")))
        if stream.answered:  # nothing was wasted: gRPC's clients reset a stream whose answer came before the end of their messages
            self._small("ignored")
        else:
            self._bounds["resets"].count(self._now)

    def _ping(self, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        """Section 6.7."""
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(FRAME_SIZE_ERROR, "PING of a wrong size")
        if not flags & ACK:
            self._small("pings")
            self.out.append(frame(PING, ACK, 0, payload))
        elif self._pings:
            self._pings -= 1
            events.append((PONG, None, payload))
        else:
            self._bounds["ignored"].count(self._now)

    def _continuation(self, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        """Section 6.10."""
        block = self._block
        if block is None:
            raise ConnectionFault(PROTOCOL_ERROR, "CONTINUATION without a block to continue")
        block[2] += payload
        block[3] += 1
        if block[3] > _MOST_CONTINUATIONS or len(block[2]) > self._most_block:
            raise exceeded("continuations")
        if flags & END_HEADERS:
            self._block = None
            self._headers(number, block[1], block[2], events)

    def _priority(self, number: int, payload: bytes, events: list[Event]) -> None:
        """Section 6.3. It has no other effect: the priorities of RFC 7540 are not used."""
        if not number:
            raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY on the connection")
        self._small("priorities")
        if len(payload) != 5:
            code = FRAME_SIZE_ERROR
        elif int.from_bytes(payload[:4], "big") & MOST == number:
            code = PROTOCOL_ERROR
        else:
            return
        if number not in self.streams:  # no RST_STREAM may be sent on an idle stream
            raise ConnectionFault(code, "a malformed PRIORITY")
        self._drop(self.streams[number], code, events)

    def _goaway(self, number: int, payload: bytes, events: list[Event]) -> None:
        """Section 6.8."""
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFault(FRAME_SIZE_ERROR, "GOAWAY of a wrong size")
        last = int.from_bytes(payload[:4], "big") & MOST
        if last > self._peer_last:
            raise ConnectionFault(PROTOCOL_ERROR, "GOAWAY with more streams than before")
        self._peer_last = last
        self._bounds["ignored"].count(self._now)
        events.append((GONE, None, (int.from_bytes(payload[4:8], "big"), last)))

    # ------------------------------------------------------------------------------------------------------------------- rules

    def _check_idle(self, number: int, what: str) -> None:
        """A stream that is not in `streams` must have been opened: section 5.1. No side opens one with an even number."""
        if number > self.last or not number & 1:
            raise ConnectionFault(PROTOCOL_ERROR, f"{what} on an idle stream")

    def _small(self, name: str) -> None:
        """A frame that the peer may send for what it got from us; another one is counted."""
        earned = self._earned
        if earned > 0:
            self._earned = (earned if earned < _MOST_EARNED else _MOST_EARNED) - 1
        else:
            self._bounds[name].count(self._now)

    def _late(self) -> None:
        """A frame on a stream that this side has reset."""
        if self._on_its_way:
            self._on_its_way -= 1
        else:
            self._bounds["ignored"].count(self._now)

    def _drop(self, stream: Stream, code: int, events: list[Event]) -> None:
        """A stream error."""
        del self.streams[stream.id]
        self._lost(stream)
        if not stream.abandoned:
            events.append((RESET, stream, code))
        self._refuse(stream.id, code)

    def _refuse(self, number: int, code: int) -> None:
        """A stream error on a stream that is not in `streams`."""
        self._rst(number, code)
        self._bounds["resets"].count(self._now)
