"""TLS towards clients and backends, with the same straight-line calls as a plain `Stream`.

Waits, timeouts and back-pressure are those of the plain stream below, the same as for every other connection, and no socket class of gevent is
used. `terraster.net.tls_channel` has the engine.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from terraster.errors import ClientGone, ConnectFailed, HttpError

from .engine import CHEAP, shake, shrink
from .handshake import HandshakeFailed, failure
from .stream import READ_SIZE
from .tls_channel import LARGE, TlsChannel
from .tls_faults import tls_fault

__all__ = ["TlsStream"]

_CHEAP = CHEAP


class Keys(Protocol):
    """The keys of session tickets, as `terraster.certs.tickets.Tickets` has them. A hello is read between `read` and `write`."""

    def read(self, names: Sequence[bytes]) -> bool:
        """Be ready to read tickets of keys with these names. True if `write` must follow."""

    def write(self) -> None:
        """Be ready to write tickets."""


class TlsStream(TlsChannel):
    """TLS over the `Stream` of a connection, with the same calls."""

    __slots__ = ()

    def accept(self, received: bytes | bytearray, end: float, keys: Keys | None = None, names: Sequence[bytes] = ()) -> None:
        """Do the handshake with a client. received: its first octets, a whole hello. keys: those of tickets. names: of the keys of the client's
        tickets. end: monotonic time at which it must be over, 0.0 = no limit. Raises
        `HttpError`."""
        self._until = end
        self._incoming.write(received)
        begun = keys is None or not names
        while True:
            try:
                if shake(self._inner) if begun else self._begin(keys, names):
                    break
            except ssl.SSLError as error:
                self._answer()  # the alert
                raise HandshakeFailed(_words(error), failure(error)) from error
            begun = True
            self._flush(0.0 if not end else max(end - self.reactor.clock(), 0.001))
            if _CHEAP:
                shrink(self._outgoing)
            received = self._fill(self._rest_of(0.0))
            if not received:
                raise ClientGone("the client ended it")
        if not (_CHEAP and shrink(self._incoming)):
            self._grow()
        self._follow_from(received)
        if self._inner.version() != "TLSv1.3":  # there the rest is tickets, which leave with the answer, or before the first wait
            self._flush(0.0 if not end else max(end - self.reactor.clock(), 0.001))

    def _begin(self, keys: Any, names: Sequence[bytes]) -> bool:
        """Have the engine read the hello with the keys of the client's tickets. It writes tickets later, and with the current keys. True if
        the handshake is over."""
        others = keys.read(names)
        try:
            return shake(self._inner)
        finally:
            if others:
                keys.write()

    def handshake(self, timeout: float) -> None:
        """Do the TLS handshake. timeout: seconds for all of it, 0 = no limit. Raises `ConnectFailed`."""
        if timeout:
            self._until = self.reactor.clock() + timeout
        received = b""
        try:
            while not self._shake():
                self._flush(timeout)
                received = self._fill(self._rest_of(timeout))
                if not received:
                    raise ConnectFailed("the backend ended the TLS handshake", reason="tls_protocol_error")
            self._flush(timeout)
            if not (_CHEAP and shrink(self._outgoing) and shrink(self._incoming)):
                self._grow()
            self._follow_from(received)
            if self._client is not None:
                self._client.shaken(self.engine, self.reactor.clock())
                self._newcomer = True
        except ConnectFailed:
            self._forget()
            raise
        except HttpError as error:  # the connection was not complete, so nothing was sent, whatever the socket's error is
            raise ConnectFailed("the backend closed during the TLS handshake", reason="tls_protocol_error") from error

    def _follow_from(self, received: bytes | bytearray) -> None:
        """The handshake is over: records are followed from here on. The engine reads no further than to the end of its last record, so octets
        that it left begin with a head. received: what came last"""
        left = self._incoming.pending
        if left:
            self._records.follow(bytes(received[-left:]))

    def _shake(self) -> bool:
        """Go on with the handshake. False if the backend's next message has not arrived. Raises `ConnectFailed`."""
        try:
            return shake(self._inner)
        except ssl.SSLError as error:
            with suppress(HttpError):
                self._answer()  # the alert, so that the backend's log says why as well
            raise tls_fault(error) from error

    def wait_no_longer_than(self, timeout: float) -> None:
        """See `Stream.wait_no_longer_than`. It bounds the whole `recv` under way, however many records without data come."""
        if timeout:
            self._until = self.reactor.clock() + timeout
        self._plain.wait_no_longer_than(timeout)

    def hasten(self, seconds: float) -> None:
        """See `Stream.hasten`. It bounds the whole `recv` under way, as `wait_no_longer_than` does."""
        until = self.reactor.clock() + seconds
        self._until = min(self._until or until, until)
        self._plain.hasten(seconds)

    def _flush(self, timeout: float) -> bool:
        """Send the octets that the engine has produced, and those that it adds meanwhile. True if it had to wait. The greenlet that sends
        calls this."""
        waited = False
        self._sending = True
        try:
            data = self._outgoing.read()
            while data or self._rest:
                if self._rest:
                    data, self._rest = self._rest + data, b""
                waited = self._plain.send(data, timeout) or waited
                data = self._outgoing.read()
        finally:
            self._sending = False
        return waited

    def _rest_of(self, timeout: float) -> float:
        """Seconds until a handshake must be over. timeout: if it has no end"""
        return max(self._until - self.reactor.clock(), 0.001) if self._until else timeout

    def _fill(self, timeout: float) -> bytes:
        """Wait for octets and give them to the engine. Returns them, b"" at the end."""
        data: bytes = self._plain.recv(timeout, READ_SIZE)
        if not data:
            self._ended = True
            self._incoming.write_eof()
            return data
        self._incoming.write(data)
        if not self._grown and len(data) >= LARGE:
            self._grow()
        return data

    def send(self, data: bytes | memoryview, timeout: float, more: bytes = b"") -> bool:
        """See `Stream.send`."""
        if more:
            data = data + more  # type: ignore[operator]
        try:
            self._encrypt(data)
        except ssl.SSLError as error:
            raise self._plain.owner.lost() from error
        return self._flush(timeout)

    def send_last(self, data: bytes, timeout: float) -> bool:
        """See `Stream.send_last`. The close_notify leaves with the octets."""
        try:
            self._encrypt(data)
        except ssl.SSLError as error:
            raise self._plain.owner.lost() from error
        self._sending = True
        try:
            self._add_goodbye()
            octets, self._rest = self._rest + self._outgoing.read(), b""
            return self._plain.send_last(octets, timeout)
        finally:
            self._sending = False

    def recv(self, timeout: float, size: int = READ_SIZE) -> bytes:
        """See `Stream.recv`. Before a head, ``timeout`` is the time for the whole call, however many records without data and parts of a
        record come. Within a body each octet of a record with data begins it anew, as on a plain stream. Records without data do not: an
        octet counts for one as long as its record is under way."""
        ahead, self._ahead = self._ahead, b""
        filled = False
        wait, until = timeout, 0.0
        self._until = 0.0
        while True:
            try:
                if filled or self._ended or self._incoming.pending or self._inner.pending():
                    data: bytes = self._inner.read(size)
                    return ahead + data if ahead else data
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                return ahead
            except ssl.SSLError as error:  # an end without close_notify may come from an attacker: RFC 8446, section 6.1
                if ahead:
                    return ahead
                raise self._failed(error) from error
            if ahead:
                return ahead
            if filled:  # only a part of a record has arrived, or records without data
                self.quick_ack()
                wait = self._left(timeout, until)
            elif timeout:
                until = self.reactor.clock() + timeout
                if self._plain.owner.waits_for_head():
                    self._until = until
            self._answer()
            self._records.follow(self._fill(wait))
            filled = True

    def _left(self, timeout: float, until: float) -> float:
        """Seconds for the next octets, after some that brought no data. until: monotonic time at which data must have come, 0.0 = no limit.
        Raises `HttpError` if the time is over."""
        until = self._until or until
        if not until:
            return timeout
        records = self._records
        left = until - self.reactor.clock()
        if left <= 0.0 and (self._until or records.ended):
            raise self._plain.owner.timed_out(False)
        return max(left, 0.001) if self._until or records.are_whole else timeout

    def recv_into(self, buffer: memoryview, timeout: float) -> int:
        """See `Stream.recv_into`."""
        data = self.recv(timeout, min(len(buffer), READ_SIZE))
        buffer[: len(data)] = data
        return len(data)


def _words(error: ssl.SSLError) -> str:
    """The reason that the library gives, in lower case: "no shared cipher"."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate is not accepted: {error.verify_message}"
    return (error.reason or str(error)).replace("_", " ").lower()
