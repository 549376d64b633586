"""A connection of HTTP/2 (RFC 9113) without its socket: octets in, events out, and in `Sending.out` the octets to send.

`Sending` has what is sent, `Receiving` what each frame does. `Session` cuts the octets into frames. `terraster.wire.http2.server` and
`terraster.wire.http2.client` add what one side does with blocks of fields.

`feed` and `sweep` report events; the kinds are in `terraster.wire.http2.events`. No method raises an error.
"""

from __future__ import annotations

from math import inf

from .events import FAILED, Event
from .frames import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    FRAME_SIZE_ERROR,
    HEADERS,
    MOST,
    NO_ERROR,
    PADDED,
    PRIORITY_FLAG,
    PROTOCOL_ERROR,
    SETTINGS,
    SETTINGS_TIMEOUT,
    WINDOW_UPDATE,
    ConnectionFault,
    unpadded,
)
from .hpack.errors import HpackError, Oversized
from .hpack.reader import Decoder
from .hpack.static_table import Field
from .limits import Limits
from .octets import unpack_head
from .receiving import FIRST_TABLE, Receiving

__all__ = ["ITSELF", "Session"]

ITSELF = 256
"""A flag beside those of a HEADERS frame: the stream depends on itself."""

_PADDED_OR_PRIORITY = PADDED | PRIORITY_FLAG

_HEADERS = bytes([HEADERS])


class Session(Receiving):
    """One side of a connection."""

    __slots__ = ("_decoder", "_held", "_held_since", "_preface")

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._decoder = Decoder(limits.header_list_size, FIRST_TABLE)
        self._held = b""  # the start of a frame
        self._held_since = inf
        self._preface = b""  # that the peer must send first

    def feed(self, data: bytes, now: float) -> list[Event]:
        """The events of the next octets of the peer. now: seconds of a clock that never goes back.

        It makes no difference how the octets are cut.
        """
        events: list[Event] = []
        if self.failed >= 0:
            return events
        if self._now < 0.0:
            self.awaiting = now
        self._now = now
        if self._held:
            data = self._held + data
        at, size = 0, len(data)
        most = self._limits.max_frame
        try:
            if self._preface:
                if data[:24] != self._preface[:size]:
                    raise ConnectionFault(PROTOCOL_ERROR, "no preface of HTTP/2")
                if size < 24:
                    self._held = data
                    return events
                at = 24
                self._preface = b""
            while size - at >= 9:
                first, flags, number = unpack_head(data, at)
                length = first >> 8
                if length > most:
                    raise ConnectionFault(FRAME_SIZE_ERROR, "a frame above the limit")
                begin = at + 9
                end = begin + length
                kind = first & 255
                number &= MOST
                if end > size:
                    break
                at = end
                if self._block is not None or not self._settled:
                    self._check_order(kind, flags, number)
                if kind == HEADERS:
                    block = data[begin:end]
                    if flags & _PADDED_OR_PRIORITY:
                        block, flags = _fragment(block, flags, number)
                    if flags & END_HEADERS:
                        self._headers(number, flags, block, events)
                    else:
                        self._block = [number, flags, block, 0, now]
                elif kind == DATA:
                    self._data(number, flags, data[begin:end], events)
                elif kind == WINDOW_UPDATE:
                    self._window_update(number, data[begin:end], events)
                else:
                    self._rare(kind, number, flags, data[begin:end], events)
        except ConnectionFault as fault:
            self.exceeded = fault.bound
            self._held = b""
            self.fail(fault.code, fault.text)
            events.append((FAILED, None, (fault.code, fault.text)))
            return events
        if at < size:
            self._held = data[at:]
            if at or self._held_since == inf:
                self._held_since = now
        else:
            self._held = b""
            self._held_since = inf
        return events

    @property
    def heading(self) -> float:
        """When the block of fields began whose end has not come yet, by the clock of `feed`; inf if there is none."""
        if self._block is not None:
            return float(self._block[4])
        return self._held_since if self._held[3:4] == _HEADERS else inf

    def _fields_of(self, block: bytes) -> list[Field] | None:
        """The fields of a block, None if they are more than the limit. Every block must come here, in order, as it may change the table."""
        try:
            return self._decoder.decode(block)
        except HpackError as error:
            raise ConnectionFault(COMPRESSION_ERROR, f"a malformed block of fields: {error}") from None
        except Oversized:
            self._bounds["oversized"].count(self._now)
            return None

    def sweep(self, now: float) -> list[Event]:
        """End what has lasted too long: lingering streams, and the wait for the peer to acknowledge the settings.

        To be called about once a second.
        """
        if self.failed >= 0:
            return []
        for lingering in list(self.lingering.values()):
            if lingering.until == inf:
                lingering.until = now + self._limits.linger_seconds
            elif lingering.until <= now:
                self.reset(lingering.stream, NO_ERROR)
        if now - self.awaiting < self._limits.settings_seconds:
            return []
        self.fail(SETTINGS_TIMEOUT, "the peer has not acknowledged the settings")
        return [(FAILED, None, (self.failed, self.fault))]

    def _check_order(self, kind: int, flags: int, number: int) -> None:
        """SETTINGS come first (section 3.4), and nothing comes within a block of fields (section 4.3)."""
        if not self._settled and (kind != SETTINGS or flags & ACK):
            raise ConnectionFault(PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if self._block is not None and (kind != CONTINUATION or number != self._block[0]):
            raise ConnectionFault(PROTOCOL_ERROR, "another frame within a block of fields")


def _fragment(payload: bytes, flags: int, number: int) -> tuple[bytes, int]:
    """(the part of a block, flags) of a HEADERS frame with padding or a priority: section 6.2."""
    if flags & PADDED:
        payload = unpadded(payload)
    if flags & PRIORITY_FLAG:
        if len(payload) < 5:
            raise ConnectionFault(FRAME_SIZE_ERROR, "HEADERS too short for its priority")
        if int.from_bytes(payload[:4], "big") & MOST == number:
            flags |= ITSELF
        payload = payload[5:]
    return payload, flags
