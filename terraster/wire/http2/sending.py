"""The half of an HTTP/2 session that writes frames: heads, payload within both windows, resets, window updates, GOAWAY."""

from __future__ import annotations

from array import array

from .frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FIRST_WINDOW,
    HEADERS,
    MOST,
    PING,
    SMALLEST_FRAME,
    frame,
    goaway,
    rst_stream,
    window_update,
)
from .limits import Limits
from .octets import pack_head
from .streams import Lingering, Stream

__all__ = ["Sending"]

_WORTHWHILE = 16384
"""Octets of window for the connection that are worth a frame."""

_MOST_REMEMBERED = 4096
"""Streams of which a connection remembers how they ended."""


class Sending:
    """The frames that both sides of a connection send, and the state that this needs.

    out: the octets to send next, in order. The owner of the socket takes them. A memoryview shows octets of the caller of `data`, who must
        not change them before they are sent. A `feed` adds at most one and a half times the octets that it was given.
    streams: the streams that are open or half-closed, by their numbers. An abandoned one stays until the peer has ended it.
    last: the number of the last stream that the client opened.
    window: octets that may be sent on the connection.
    frame: octets of payload that a frame may have.
    working: requests that were handed out and are not `done`.
    going: True if no new stream will be worked on: GOAWAY was sent.
    failed: the error code of the connection error that ended the session, -1 before. fault: the rule that was broken, "" before.
    exceeded: the name of the bound that the peer exceeded, "" if none.
    lingering: streams that are answered and abandoned while the peer still sends, by their numbers; see `terraster.wire.http2.server`.
    """

    __slots__ = (
        "out",
        "streams",
        "last",
        "window",
        "frame",
        "working",
        "going",
        "failed",
        "fault",
        "exceeded",
        "lingering",
        "_limits",
        "_give",
        "_unread",
        "_credit",
        "_taken",
        "_give_connection",
        "_most_waiting",
        "_closed",
        "_remembered",
        "_promised",
        "_prefix",
        "_earned",
        "_pings",
    )

    def __init__(self, limits: Limits) -> None:
        self.out: list[bytes | memoryview] = []
        self.streams: dict[int, Stream] = {}
        self.last = 0
        self.window = FIRST_WINDOW
        self.frame = SMALLEST_FRAME
        self.working = 0
        self.going = False
        self.failed = -1
        self.fault = ""
        self.exceeded = ""
        self.lingering: dict[int, Lingering] = {}
        self._limits = limits
        self._give = (limits.window + 1) // 2  # octets for which a WINDOW_UPDATE is worth its frame
        self._most_waiting = max(FIRST_WINDOW, limits.buffered_octets)
        self._credit = max(FIRST_WINDOW, min(limits.connection_window, self._most_waiting))  # octets that the peer may send
        self._give_connection = (self._credit + 1) // 2
        self._unread = 0  # octets that were handed out and not consumed
        self._taken = 0  # octets that arrived on the connection, and the peer got no new window for them yet
        size = min(1 << (2 * limits.max_streams - 1).bit_length(), _MOST_REMEMBERED)
        self._closed = array("i", bytes(4 * size))  # by number: the number if it ended, negative if this side reset it
        self._remembered = size - 1
        self._promised = MOST  # the last stream that a GOAWAY of ours named
        self._prefix = b""  # octets that the next block must begin with
        self._earned = 0  # small frames that the peer may send for what it got
        self._pings = 0  # of ours, without an answer

    # -------------------------------------------------------------------------------------------------- what an owner calls

    def head(self, stream: Stream, block: bytes, end: bool) -> None:
        """Send a block of fields: a head, an interim head, or trailers. end: END_STREAM goes with it.

        The block is one of HPACK, without reference to a dynamic table. Nothing is sent on a stream that has ended.
        """
        if not stream.sending:
            return
        if self._prefix:
            block = self._prefix + block
            self._prefix = b""
        size, most = len(block), self.frame
        if size <= most:
            self.out.append(pack_head(size << 8 | HEADERS, END_HEADERS | END_STREAM if end else END_HEADERS, stream.id) + block)
        else:
            self.out.append(frame(HEADERS, END_STREAM if end else 0, stream.id, block[:most]))
            for at in range(most, size, most):
                self.out.append(frame(CONTINUATION, 0 if at + most < size else END_HEADERS, stream.id, block[at : at + most]))
        self._earned += 2
        if end:
            self._end(stream)

    def data(self, stream: Stream, data: bytes | memoryview, end: bool) -> int:
        """Send payload, as much as both windows allow. Returns how many octets. end: END_STREAM goes with the last of them.

        After less than all, the rest waits for ROOM of the stream if its `window` is 0 or less, else for that of the connection.
        """
        if not stream.sending:
            return 0
        size = given = len(data)
        room = stream.window if stream.window < self.window else self.window
        if size > room and size:
            size = room
            if size <= 0:
                return 0
            self._earned += size >> 9
        else:
            self._earned += 2 + (size >> 9)
        stream.window -= size
        self.window -= size
        out, most = self.out, self.frame
        last = end and size == given
        if size <= most:
            out.append(pack_head(size << 8 | DATA, END_STREAM if last else 0, stream.id))
            if size:
                out.append(data if size == given else data[:size])
        else:
            at = 0
            while at < size:
                part = size - at if size - at < most else most
                out.append(pack_head(part << 8 | DATA, END_STREAM if last and at + part == size else 0, stream.id))
                out.append(data[at : at + part])
                at += part
        if last:
            self._end(stream)
        return size

    def consumed(self, stream: Stream, octets: int) -> None:
        """The receiver of a body has taken so many octets of it. The peer gets window for them, half a window at a time."""
        if octets > stream.unread:
            octets = stream.unread
        stream.unread -= octets
        self._unread -= octets
        stream.taken += octets
        if stream.taken >= self._give and stream.receiving:
            self._replenish(stream)
        if self._taken >= self._give_connection:
            self._replenish_connection()

    def reset(self, stream: Stream, code: int) -> None:
        """End a stream by RST_STREAM, for a reason of this side. Nothing happens if it has ended."""
        if self.streams.pop(stream.id, None) is not None:
            self._lost(stream)
            self._rst(stream.id, code)

    def broke(self, stream: Stream) -> bool:
        """True if a stream that was reported as RESET ended because the peer broke a rule, and not because it reset the stream."""
        return self._closed[stream.id >> 1 & self._remembered] == -stream.id

    def goaway(self, code: int, last: int) -> None:
        """Send GOAWAY. last: the last stream that is worked on; 2^31-1 announces the end, and new streams are still taken.

        A later one never names a higher stream than an earlier one (RFC 9113, section 6.8).
        """
        if last < MOST:
            self.going = True
        self._promised = min(last, self._promised)
        self.out.append(goaway(self._promised, code))

    def ping(self, octets: bytes) -> None:
        """Send PING with these 8 octets. The answer is the event PONG."""
        self._pings += 1
        self.out.append(frame(PING, 0, 0, octets))

    def fail(self, code: int, text: str) -> None:
        """End the connection by an error. text: the reason, for a log line; the peer gets it too, in GOAWAY."""
        if self.failed < 0:
            self.failed = code
            self.fault = text
            self.going = True
            self.out.append(goaway(min(self.last, self._promised), code, text.encode("ascii", "replace")))

    # --------------------------------------------------------------------------------------------------------- for both halves

    def _end(self, stream: Stream) -> None:
        """This side has sent END_STREAM."""
        stream.sending = False
        stream.answered = True
        if not stream.receiving:
            self._over(stream)

    def _over(self, stream: Stream) -> None:
        """Both sides have sent END_STREAM."""
        number = stream.id
        if self.streams.pop(number, None) is not None:
            self._closed[number >> 1 & self._remembered] = number
            if stream.abandoned:
                self.lingering.pop(number, None)

    def _lost(self, stream: Stream) -> None:
        """The stream ended by a reset, and is no longer in `streams`."""
        stream.sending = stream.receiving = False
        stream.window = 0  # the same read may have given it room, and its writer hears of that first
        self._closed[stream.id >> 1 & self._remembered] = stream.id
        if stream.abandoned:
            self.lingering.pop(stream.id, None)

    def _rst(self, number: int, code: int) -> None:
        """Send RST_STREAM. Frames that the peer sent before it knows are ignored."""
        self.out.append(rst_stream(number, code))
        self._closed[number >> 1 & self._remembered] = -number

    def _release(self, stream: Stream) -> None:
        """Nobody will consume the rest of the body."""
        if stream.unread:
            self._unread -= stream.unread
            stream.unread = 0
            if self._taken >= self._give_connection:
                self._replenish_connection()

    def _replenish(self, stream: Stream) -> None:
        self.out.append(window_update(stream.id, stream.taken))
        stream.credit += stream.taken
        stream.taken = 0

    def _replenish_connection(self) -> None:
        """Let the peer send again what has arrived, but no more than there is room to keep."""
        room = self._most_waiting - self._unread - self._credit
        octets = self._taken if self._taken < room else room
        if octets >= _WORTHWHILE:
            self.out.append(window_update(0, octets))
            self._credit += octets
            self._taken -= octets
