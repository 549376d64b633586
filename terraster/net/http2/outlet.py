"""The sending half of an HTTP/2 connection, of either side, and the line of those that wait to send.

The octets to be sent gather in the codec, and leave once a turn of the loop, or at once if they are many. While the socket takes none, the
streams with a body to send wait in a line.
"""

from __future__ import annotations

from math import inf
from typing import Any

from terraster.errors import HttpError
from terraster.net.body import BUFFER
from terraster.net.reactor import Reactor
from terraster.net.stream import Stream
from terraster.net.tls import TlsStream
from terraster.wire.http2.session import Session

from .channel import Channel

__all__ = ["Outlet"]

_AT_ONCE = 65536  # octets that do not wait for the end of the turn
_VECTOR = 1 << 15  # octets that are not joined before they are sent
_MOST_PIECES = 1024  # IOV_MAX of Linux
_SHARE = 1 << 18
"""Octets of a body that a stream may write before the loop looks at all sockets again. Where a backend and a client are both fast, no
read and no write would ever wait otherwise, and a download would keep the worker until the window of its client is exhausted."""
_LITTLE = 1 << 14
"""The same while a more urgent stream is under way: its backend is asked and read in several turns, and what is written meanwhile is in front
of it."""
_BACKGROUND = 1 << 16
"""The same for a stream that is less urgent than usual: its client is likely to ask for something more urgent."""
_HOLD = 0.002
"""Seconds in which the less urgent streams send nothing when a more urgent one begins: most backends answer within them, and what is sent
meanwhile is in front of the answer. A backend on the same machine gets its turn, too."""
_HOLD_AGAIN = 0.01  # seconds from one such moment to the next, at least
_FEW = 32
"""Streams with which each may read and write half a buffer at once, which a response of 100 KiB fits into; if there are more, a quarter."""
_SWEEP = 1.0  # seconds between two looks at the clock
_USUAL, _LEAST_URGENT = 3, 7  # RFC 9218, section 4.1


class Outlet:
    """Sends for one side of HTTP/2. A subclass reads, and decides when the connection is over.

    codec:   the frames
    requests: the streams under way
    line:    the streams that wait for the socket or for the window of the connection, in order
    blocked: True while the socket takes no octets, or is not asked to because others have their turn
    read_deadline: when the clock is to be looked at next; write_deadline: when those in line have waited too long for the window of the
        connection (`terraster.net.reactor.Swept`)
    """

    __slots__ = (
        "blocked",
        "codec",
        "line",
        "plain",
        "reactor",
        "read_deadline",
        "requests",
        "write_deadline",
        "_ended",
        "_held_since",
        "_hold",
        "_most_urgent",
        "_payload",
        "_queued",
        "_run_callback",
        "_stream",
        "_timeout",
        "_touched",
    )

    codec: Any

    def __init__(self, stream: Stream | TlsStream, plain: Stream, codec: Session, timeout: float) -> None:
        """stream: the octets. plain: those below TLS, or the same. timeout: seconds between two octets that the peer takes, 0 = no limit."""
        self.blocked = self._ended = self._touched = False
        self.codec = codec
        self.line: dict[Any, None] = {}
        self.requests: set[Any] = set()
        self.plain = plain
        self.reactor: Reactor = plain.reactor
        self.read_deadline = self.write_deadline = inf
        self._held_since = -inf
        self._hold: Any = None  # the timer for its end
        self._most_urgent = _LEAST_URGENT  # of the streams under way, or of one that was a moment ago
        self._payload = 0  # octets of bodies in the codec
        self._queued = 0
        self._run_callback = self.reactor.loop.run_callback
        self._stream = stream
        self._timeout = timeout or inf

    # ------------------------------------------------------------------------------------------------------- what a subclass does

    def _stalled(self) -> None:
        """The socket takes no octets, or has taken only some of those that wait. On the hub or in the greenlet of a request."""
        raise NotImplementedError

    def _flows(self) -> None:
        """The socket has taken all octets that waited. On the hub."""
        raise NotImplementedError

    def _over(self) -> None:
        """The socket failed. On the hub."""
        raise NotImplementedError

    def _sweep(self, now: float) -> None:
        """A look at the clock is due. On the hub."""
        raise NotImplementedError

    # ---------------------------------------------------------------------------------------------------------------- sending

    def touch(self) -> None:
        """Send at the end of this turn of the loop."""
        if not self._touched:
            self._touched = True
            self._run_callback(self._turn)

    def opened(self, channel: Channel) -> None:
        """A stream is under way."""
        self.requests.add(channel)
        if channel.urgency < self._most_urgent:
            self._most_urgent = channel.urgency
            now = self.reactor.clock()
            if now - self._held_since > _HOLD_AGAIN:
                self._held_since = now

    def share(self, channel: Channel) -> int:
        """Octets that a stream may write at once."""
        urgency = channel.urgency
        if urgency > self._most_urgent:
            return _LITTLE
        if urgency > _USUAL:
            return _BACKGROUND
        count = len(self.requests)
        return BUFFER if count < 2 else BUFFER // 2 if count <= _FEW else BUFFER // 4

    def wrote(self, channel: Channel, octets: int, at_once: bool) -> None:
        """A stream has so many more octets in the codec. at_once: they lie in memory that is used again."""
        self._queued += octets
        self._payload += octets
        channel.spent += octets
        if channel.spent >= _LITTLE and (
            channel.spent >= _SHARE
            or channel.urgency > self._most_urgent
            or (channel.urgency > _USUAL and channel.spent >= _BACKGROUND)
        ):
            channel.spent = 0
            self.flush()
            if not (self.blocked or self._ended):
                self._wait_for_socket()
        elif at_once or self._queued >= _AT_ONCE:
            self.flush()
        else:
            self.touch()

    def _turn(self) -> None:
        self._touched = False
        self.flush()
        if self.line and not self.blocked and self.codec.window > 0:
            self._next()

    def queue(self, channel: Channel) -> None:
        """A stream begins to wait in line."""
        self.line[channel] = None
        self._expect_window()

    def _expect_window(self) -> None:
        """Those in line wait for the window of the connection, if not for the socket. One deadline is for all of them: a peer that gives
        window may use it for the more urgent ones as long as it likes."""
        if self.write_deadline == inf and not self.blocked and self._timeout < inf:
            self.write_deadline = self.reactor.horizon + self._timeout
            self.reactor.streams.add(self)

    def _next(self) -> None:
        """Let those in line write, each once, the most urgent first. On the hub."""
        line, codec = self.line, self.codec
        self.write_deadline = inf
        for _ in range(len(line)):
            if not line or self.blocked or codec.window <= 0:
                break
            channel = min(line, key=_urgency)
            if channel.urgency > self._most_urgent and self._holds(channel.urgency):
                break
            del line[channel]
            if channel.writer is not None:
                channel.writer.switch()
        if line and codec.window <= 0:
            self._expect_window()

    def _holds(self, urgency: int) -> bool:
        """True if streams of this urgency wait a moment, because a more urgent one has just begun."""
        self._most_urgent = min([channel.urgency for channel in self.requests], default=_LEAST_URGENT)
        left = self._held_since + _HOLD - self.reactor.clock()
        if urgency <= self._most_urgent or left <= 0.0:
            return False
        if self._hold is None:
            self._hold = self.reactor.loop.timer(left)
            self._hold.start(self._release)
        return True

    def _release(self) -> None:
        """The moment is over. On the hub."""
        self._drop_hold()
        self._turn()

    def _drop_hold(self) -> None:
        if self._hold is not None:
            self._hold.close()
            self._hold = None

    def _lose_patience(self) -> None:
        """End those in line, because the peer gives the connection no window."""
        if not self.blocked and self.codec.window <= 0:
            for channel in list(self.line):
                if channel.writer is not None:
                    channel.writer.throw(channel.timed_out(True))

    def flush(self) -> None:
        """Send what there is, without waiting."""
        out = self.codec.out
        if not out:
            return
        if self.blocked:
            for at, piece in enumerate(out):
                if type(piece) is memoryview:
                    out[at] = bytes(piece)
            return
        if self._queued >= _VECTOR and self._stream is self.plain and not self.plain.closed:
            data = self._send_pieces(out)
        else:
            data = b"".join(out)
        out.clear()
        self._payload = 0
        if not data or self.plain.closed:
            self._queued = 0
            return
        try:
            self._queued = self._stream.send_now(data)
        except HttpError:
            self._queued = 0
            self._run_callback(self._over)
            return
        if self._queued and not self._ended:
            self._wait_for_socket()

    def _send_pieces(self, out: list[bytes | memoryview]) -> bytes:
        """Send payload from where it lies, as to join 100 KiB of it takes as long as a small request. Returns the octets that the socket did
        not take; what is wrong with it the next `send_now` finds out."""
        try:
            sent = self.plain.sock.sendmsg(out[:_MOST_PIECES]) if not self.plain.unsent else 0
        except OSError:
            sent = 0
        for at, piece in enumerate(out):
            if sent < len(piece):
                return b"".join((piece[sent:], *out[at + 1 :]))
            sent -= len(piece)
        return b""

    def _wait_for_socket(self) -> None:
        self.blocked = True
        self._stalled()
        self._stream.on_writable(self._writable)

    def _writable(self) -> None:
        if self.line:
            self._most_urgent = min([channel.urgency for channel in self.requests], default=_LEAST_URGENT)
        try:
            self._queued = self._stream.send_now(b"")
        except HttpError:
            self._over()
            return
        if self._queued:
            self._stalled()
            return
        self.blocked = False
        self.plain.writer = None
        self.plain.write_deadline = inf
        self._stream.on_writable(None)
        self._queued = sum(map(len, self.codec.out))
        self.flush()
        if self.line and not self.blocked:
            self._next()
            self.flush()
        if not self._ended:
            self._flows()

    # ----------------------------------------------------------------------------------------------- as `terraster.net.reactor.Swept`

    def _watch(self) -> None:
        """Look at the clock about a second from now."""
        if self.read_deadline == inf and not self._ended:
            self.read_deadline = self.reactor.horizon + _SWEEP
            self.reactor.streams.add(self)

    def next_deadline(self) -> float:
        """See `terraster.net.reactor.Waiter`."""
        return min(self.read_deadline, self.write_deadline)

    def overdue(self, now: float) -> None:
        """See `terraster.net.reactor.Waiter`."""
        if self._ended:
            return
        if self.write_deadline < now:
            self.write_deadline = inf
            self._lose_patience()
        if self.read_deadline < now:
            self.read_deadline = inf
            self._sweep(now)
        if self.read_deadline == self.write_deadline == inf:
            self.reactor.streams.discard(self)

    @property
    def _waiting(self) -> int:
        """Octets of heads and the like in the codec, which need no window."""
        return sum(map(len, self.codec.out)) - self._payload


def _urgency(channel: Channel) -> int:
    return channel.urgency
