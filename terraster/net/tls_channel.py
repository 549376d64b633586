"""TLS over the `Stream` of a connection, as far as nothing waits: the engine with its two buffers, what a callback on the hub does with it,
and the end.

The TLS engine of the standard library works on two memory buffers (`ssl.MemoryBIO`). Octets enter and leave the socket through `Stream`.
`terraster.net.tls` has the calls that wait.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from greenlet import greenlet

from terraster.errors import ConnectFailed, HttpError

from .client_tls import ClientTls
from .duplex import Duplex
from .engine import Buffer, Engine, buffer_of, engine_of, server_engine, shrink, take_leave, view_of
from .stream import READ_SIZE, Stream
from .tls_faults import alert_of, refuses_us, tls_fault
from .tls_records import Records

__all__ = ["LARGE", "TlsChannel"]

LARGE = 4096
"""Octets that make a buffer of the engine grow to more than an idle connection should keep."""

_SEGMENT = 1396
"""Octets of data whose record fits in one segment of TCP, also over IPv6 and with TLS 1.2."""

_FIRST = 10 * _SEGMENT
"""Octets that are sent in such records at first. A record can be read once it has come whole. One of 16 KiB is more than the kernel may send
before the client has acknowledged something (ten segments: RFC 6928)."""

_IDLE = 1.0
"""Seconds without a large message after which this begins anew, as the kernel's window has shrunk by then (RFC 5681, section 4.1)."""

_MOST_UNSENT = 65536
"""Octets of TLS messages that a peer may leave unread while it asks for more of them (key updates)."""


class TlsChannel(Duplex):
    """The calls of a `Stream` that never wait.

    buffers: True, because the engine may hold octets that have left the socket
    reactor: the stream's

    Raises `ConnectFailed` if ``name`` is not a valid server name, because it may come from an SRV record.
    """

    __slots__ = (
        "quick_ack",
        "reactor",
        "_ahead",
        "_aborts",
        "_ended",
        "_client",
        "_grown",
        "_incoming",
        "_inner",
        "_large_until",
        "_newcomer",
        "_outgoing",
        "_parted",
        "_plain",
        "_records",
        "_rest",
        "_sending",
        "_small",
        "_tls",
        "_until",
    )

    def __init__(self, plain: Stream, way: ssl.SSLContext | ClientTls) -> None:
        """way: towards a backend how TLS is spoken there; towards a client the settings of its service"""
        self.buffers = True
        self._plain = plain
        self.reactor = plain.reactor
        self.quick_ack = plain.quick_ack
        self._until = 0.0  # monotonic time at which the `recv` under way must be over, 0.0 = none
        self._ahead = b""  # what `peek` took from the engine
        self._rest = b""  # octets of the engine that the socket did not take
        self._sending = False  # True while a greenlet is in `_flush`
        self._ended = False  # True once the socket has no more octets
        self._aborts = False
        self._parted = False  # True once the close_notify is written
        self._grown = False  # True while the reactor knows that buffers have grown
        self._small = 0  # octets that are still sent in small records
        self._large_until = 0.0  # monotonic time from which on a large message begins with small records
        self._records = Records()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._client: ClientTls | None = None
        self._newcomer = False  # True until the session of a connection to a backend was kept
        self._tls: ssl.SSLObject | None = None
        if isinstance(way, ssl.SSLContext):
            self._inner: Engine = server_engine(way, incoming, outgoing)
        else:
            self._client = way
            try:
                self._tls = way.engine(incoming, outgoing, self.reactor.clock())
            except (ValueError, TypeError) as error:
                raise ConnectFailed("the server name is not one that TLS can send", reason="tls_protocol_error") from error
            self._inner = engine_of(self._tls)
        self._incoming: Buffer = buffer_of(incoming, self._inner)
        self._outgoing: Buffer = buffer_of(outgoing, self._inner)

    @property
    def engine(self) -> ssl.SSLObject:
        """The standard library's view of the engine, to be asked for the facts of the handshake."""
        if self._tls is None:
            self._tls = view_of(self._inner)
        return self._tls

    @property
    def inner(self) -> Engine:
        """The engine, to be asked for the facts of each handshake."""
        return self._inner

    def _forget(self) -> None:
        if self._client is not None:
            self._client.forget()

    def _failed(self, error: ssl.SSLError) -> HttpError:
        """The error of a connection that the engine gave up after the handshake. If the backend refuses our certificate, which it may say as
        late as this, it has not looked at the request."""
        if self._client is not None and alert_of(error):
            self._forget()
            if self._newcomer and refuses_us(error):
                return tls_fault(error)
        return self._plain.owner.lost()

    @property
    def sock(self) -> Any:
        """The socket."""
        return self._plain.sock

    @property
    def ready(self) -> bool:
        """True if the socket became readable while no greenlet was reading."""
        return self._plain.ready

    @property
    def writes(self) -> bool:
        """See `Stream.writes`."""
        return self._plain.writes

    @property
    def closed(self) -> bool:
        """True if the stream was closed."""
        return self._plain.closed

    def _answer(self) -> None:
        """Send the TLS messages that the engine adds while it reads (the answer to a key update), as far as the socket takes them.

        The greenlet that reads calls this. It never waits. If another greenlet is sending, that one sends them too, because records must
        keep their order. Octets that the socket does not take go before those of the next `send`: RFC 8446, section 4.6.3, wants the
        answer to a key update no earlier than that. The request was sent before, so an error does not say that it was not.
        """
        if self._sending or not self._outgoing.pending:
            return
        if len(self._rest) > _MOST_UNSENT:
            raise self._plain.owner.lost()
        data = self._rest + self._outgoing.read()
        try:
            sent = self._plain.offer(data)
        except OSError as error:
            raise self._plain.owner.lost() from error
        self._rest = data[sent:]

    def _grow(self) -> None:
        self._grown = True
        self.reactor.swollen.add(self)

    def slim(self) -> None:
        """See `terraster.net.reactor.Swollen`. The buffers of an engine are as large as the most that they ever had: 80 KiB after an answer of
        64 KiB, 1.7 KiB after a handshake."""
        self._grown = False
        if self._plain.closed:
            return
        for buffer in (self._incoming, self._outgoing):
            if buffer.pending:
                self._grow()  # it is in use, so it is asked again
            else:
                shrink(buffer)

    def listen(self) -> None:
        """See `Stream.listen`."""
        self._plain.listen()

    def rearm(self) -> None:
        """See `Stream.rearm`."""
        self._plain.rearm()

    def peek(self) -> bytes | None:
        """See `Stream.peek`. TLS messages without data (session tickets) do not count. At most one read of data is taken from the socket."""
        if self._newcomer:  # a response was read, and so were the session tickets before it
            self._newcomer = False
            self._keep()
        while not self._ahead:
            try:
                self._ahead = self._inner.read(1)
                break
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return b""
            try:
                data = self._plain.recv_now()
            except HttpError:
                return b""
            if data is None:
                return None
            if data:
                self._records.follow(data)
                self._incoming.write(data)
            else:
                self._ended = True
                self._incoming.write_eof()
        return self._ahead

    def attend(self, callback: Callable[[], None] | None) -> None:
        """See `Stream.attend`."""
        self._plain.attend(callback)

    def ignore(self) -> None:
        """See `Stream.ignore`."""
        self._plain.ignore()

    def recv_now(self) -> bytes | None:
        """See `Stream.recv_now`. None as well if only a part of a record has arrived."""
        tls, incoming = self._inner, self._incoming
        ahead, self._ahead = self._ahead, b""
        if not (ahead or incoming.pending or tls.pending() or self._ended):
            data = self._plain.recv_now()
            if data is None:
                return None
            if data:
                incoming.write(data)
            else:
                self._ended = True
                incoming.write_eof()
        pieces = [ahead] if ahead else []
        try:
            while incoming.pending or tls.pending() or (self._ended and not pieces):
                piece = tls.read(READ_SIZE)
                if not piece:
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            if not pieces:
                self._answer_now()
                return None
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLError as error:
            if not pieces:
                raise self._failed(error) from error
        if self._outgoing.pending > _MOST_UNSENT:
            self._answer_now()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _answer_now(self) -> None:
        """Send what the engine adds while it reads, as `_answer` does, in a stream that waits for nothing."""
        if self._outgoing.pending:
            self._rest += self._outgoing.read()
            if not self._plain.unsent:
                self.send_now(b"")
            elif len(self._rest) > _MOST_UNSENT:
                raise self._plain.owner.lost()

    def _encrypt(self, data: bytes | memoryview) -> None:
        """Write the records of a message: of `LARGE` octets or more, the first in small ones. Raises `ssl.SSLError`."""
        if len(data) < LARGE:
            self._inner.write(data)
            return
        now = self.reactor.horizon
        if now > self._large_until:
            self._small = _FIRST
        self._large_until = now + _IDLE
        at = min(self._small, len(data))
        if at:
            self._small -= at
            view = memoryview(data)
            for begin in range(0, at, _SEGMENT):
                self._inner.write(view[begin : min(begin + _SEGMENT, at)])
            data = view[at:]
        if len(data):
            self._inner.write(data)
        if not self._grown:
            self._grow()

    def send_now(self, data: bytes) -> int:
        """See `Stream.send_now`. The octets that are kept are those of records."""
        try:
            if data:
                self._encrypt(data)
        except ssl.SSLError as error:
            raise self._plain.owner.lost() from error
        records, self._rest = self._rest + self._outgoing.read(), b""
        return self._plain.send_now(records)

    def on_writable(self, callback: Callable[[], None] | None) -> None:
        """See `Stream.on_writable`."""
        self._plain.on_writable(callback)

    def abandon(self, reader: greenlet) -> None:
        """See `Stream.abandon`."""
        self._plain.abandon(reader)

    def reset_on_close(self) -> None:
        """See `Stream.reset_on_close`."""
        self._aborts = True
        self._plain.reset_on_close()

    def shutdown(self) -> None:
        """See `Stream.shutdown`."""
        self._say_goodbye()
        self._plain.shutdown()

    def close(self) -> None:
        """See `Stream.close`."""
        if not (self._aborts or self._plain.closed):
            if self._newcomer:
                self._keep()
            self._say_goodbye()
        self.reactor.swollen.discard(self)
        self._plain.close()

    def _keep(self) -> None:
        if self._client is not None:
            self._client.keep(self.engine)

    def _say_goodbye(self) -> None:
        """Send close_notify, as far as the socket takes it, so that the peer knows that nothing was cut off (RFC 8446, section 6.1)."""
        if self._sending or self._parted:
            return  # within records of another greenlet it would be garbage
        self._add_goodbye()
        with suppress(OSError):  # the other side may have gone
            self._plain.offer(self._rest + self._outgoing.read())

    def _add_goodbye(self) -> None:
        self._parted = True
        take_leave(self._inner)
