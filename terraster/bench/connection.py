"""A connection to the server under load, plain or TLS."""

from __future__ import annotations

import errno
from socket import SO_ERROR, SOL_SOCKET
from typing import Any

from terraster.errors import ConnectFailed, ConnectionLost, HttpError, TimedOut
from terraster.net.reactor import Reactor
from terraster.net.stream import Stream
from terraster.net.tls import TlsStream
from terraster.net.upstream import make_socket

from .load import Load
from .tls import LoadTls

__all__ = ["Connection"]

_REASONS = {errno.ECONNREFUSED: "connection_refused", errno.ETIMEDOUT: "connection_timeout"}


class Connection:
    """A connection; it is the owner of its stream.

    stream: its octets. recv, send: the stream's. plain: the stream of its socket
    ended:  True if the server ended it while no request was under way
    """

    __slots__ = ("ended", "plain", "recv", "send", "stream", "_opened")

    def __init__(self, reactor: Reactor, load: Load, tls: LoadTls | None, timeout: float) -> None:
        """Open it, in the calling greenlet. timeout: seconds, of the connection and the handshake. Raises `HttpError`."""
        self.ended = self._opened = False
        sock = make_socket(reactor, load.family, ())
        try:
            self.plain = plain = Stream(reactor, sock)
        except BaseException:
            sock.close()
            raise
        plain.owner = self
        self.stream: Stream | TlsStream = plain
        end = reactor.clock() + timeout
        try:
            self._connect(load.address, timeout)
            if tls is not None:
                secure = TlsStream(plain, tls)
                secure.handshake(max(end - reactor.clock(), 0.001))
                self.stream = secure
                if load.http2 and secure.engine.selected_alpn_protocol() != "h2":
                    raise ConnectFailed("the server did not choose HTTP/2 in the TLS handshake", reason="tls_protocol_error")
        except BaseException:
            self.close()
            raise
        self._opened = True
        self.recv = self.stream.recv
        self.send = self.stream.send

    def _connect(self, address: Any, timeout: float) -> None:
        plain = self.plain
        code = plain.sock.connect_ex(address)
        if code == errno.EINPROGRESS and not _is_connected(plain.sock):
            plain.wait_writable(timeout)
            code = plain.sock.getsockopt(SOL_SOCKET, SO_ERROR)
        elif code == errno.EINPROGRESS:
            code = 0
        if code:  # EAGAIN: the queue of a unix socket is full
            reason = _REASONS.get(code, "destination_ip_unroutable")
            cause = OSError(code, errno.errorcode.get(code, str(code)))
            raise ConnectFailed(f"no connection ({errno.errorcode.get(code, code)})", reason=reason) from cause
        plain.listen()

    def close(self) -> None:
        """End it. Idempotent."""
        self.stream.close()

    # ---------------------------------------------------------------------------------------- as `terraster.net.stream.Owner`

    def unexpected(self) -> None:
        """See `terraster.net.stream.Owner`: between two requests a TLS message without data may come, or the end."""
        if self.stream.buffers and self.stream.peek() is None:
            self.stream.rearm()
        else:
            self.ended = True

    def timed_out(self, writing: bool) -> HttpError:
        """See `terraster.net.stream.Owner`."""
        if not self._opened:
            return ConnectFailed("no connection in time", reason="connection_timeout")
        return TimedOut("the server stopped reading" if writing else "no complete answer in time")

    def lost(self) -> HttpError:
        """See `terraster.net.stream.Owner`."""
        return ConnectionLost("the server closed the connection")

    def waits_for_head(self) -> bool:
        """See `terraster.net.stream.Owner`."""
        return False


def _is_connected(sock: Any) -> bool:
    """True if a connection is there already, as on loopback. To ask costs less than to wait for an event: 55 instead of 62 µs of CPU for a
    request with its connection (2026-11-29)."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
