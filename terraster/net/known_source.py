"""Response bodies of a known length."""

from __future__ import annotations

from terraster.errors import ConnectionLost

from .body import BUFFER, CUT, Buffer, Payload, Source
from .stream import Stream
from .upstream import Upstream

__all__ = ["FullSource", "KnownSource"]


class KnownSource(Source):
    """Exactly ``left`` more octets. They are read into the worker's buffer, and the sink sends them before another greenlet
    runs. ``rest``: octets that arrived with the head."""

    __slots__ = ("_buffer", "_left", "_rest")

    def __init__(self, upstream: Upstream, rest: bytes, left: int, timeout: float, buffer: Buffer) -> None:
        super().__init__(upstream, timeout)
        self._rest = rest
        self._left = left
        self._buffer = buffer.view
        if not left:
            self.done = self.reusable = True

    def here(self) -> Payload:
        if self._left:
            self._upstream.quick_ack()
        return self._rest

    def read(self, room: int) -> Payload:
        view = self._buffer
        size = self._size(room)
        return view[: self._took(self._upstream.recv_into(view if size >= BUFFER else view[:size], self._timeout), size)]

    def _size(self, room: int) -> int:
        """The number of octets to ask for: one more than the body has, which tells if something follows it."""
        return min(self._left + 1, room)

    def _took(self, got: int, asked: int) -> int:
        """Count octets that were read. Returns the number of those that belong to the body. Raises `ConnectionLost`."""
        left = self._left
        if not got:
            raise ConnectionLost(CUT)
        if got < left:
            self._left = left - got
            return got
        self.done = True
        self.reusable = got == left
        self.quiet = got < asked
        return left


class FullSource(KnownSource):
    """A body of known length, whose head filled the first read. The rest is usually there by then, so it is read at once.

    The head for the client, the part of the body that came with the head, and what is read at once, are sent as one piece. That saves a
    `send`, a turn of the loop and `Stream.quick_ack`.
    """

    __slots__ = ("_stream",)

    def __init__(self, upstream: Upstream, stream: Stream, rest: bytes, left: int, timeout: float, buffer: Buffer) -> None:
        """stream: of the backend, in clear. rest: the head for the client, and the octets that arrived with the head"""
        super().__init__(upstream, rest, left, timeout, buffer)
        self._stream = stream

    def here(self) -> Payload:
        """See `Source`. Raises `HttpError` if the backend has left; nothing was sent then."""
        rest, view = self._rest, self._buffer
        begin = len(rest)
        room = BUFFER - begin
        if room <= 0 or self._stream.ready:
            return super().here()
        size = self._size(room)
        try:
            got = self._stream.sock.recv_into(view[begin : begin + size])
        except BlockingIOError:
            return super().here()
        except OSError as error:
            raise self._stream.owner.lost() from error
        view[:begin] = rest
        end = begin + self._took(got, size)
        if not self.done:
            self._upstream.quick_ack()
        return view[:end]
