"""TLS towards backends: a non-blocking SSLSocket behind the same straight-line calls as a plain `Upstream`.

TLS reads whole records, so octets may be waiting inside the object while the socket has none: a read looks there before it waits.
"""

from __future__ import annotations

import ssl
from math import inf
from typing import Any

from gevent.monkey import get_original
from greenlet import getcurrent

from terraster.errors import ConnectFailed

from .stream import READ_SIZE, Reactor
from .upstream import Pool, Upstream

__all__ = ["TlsUpstream", "client_context"]


def client_context(skip_verify: bool) -> ssl.SSLContext:
    """The settings for connections to a backend: TLS 1.2 or newer, verified against the system's authorities unless told not to."""
    context: ssl.SSLContext = get_original("ssl", "SSLContext")(ssl.PROTOCOL_TLS_CLIENT)
    if skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context


class TlsUpstream(Upstream):
    """A connection to a backend over TLS."""

    __slots__ = ("_context", "_name")

    def __init__(self, reactor: Reactor, sock: Any, pool: Pool | None, context: ssl.SSLContext, name: str) -> None:
        super().__init__(reactor, sock, pool)
        self._context = context
        self._name = name

    def connect(self, address: Any, timeout: float) -> None:
        super().connect(address, timeout)
        self.phase = "connect"
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name, do_handshake_on_connect=False)
        self._recv = self.sock.recv
        self._send = self._send_some
        while True:
            try:
                self.sock.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._wait_readable(timeout)
            except ssl.SSLWantWriteError:
                self.wait_writable(timeout)
            except ssl.SSLCertVerificationError as error:
                raise ConnectFailed("the backend's certificate is not valid", reason="tls_certificate_error") from error
            except OSError as error:
                raise ConnectFailed("TLS with the backend failed", reason="tls_protocol_error") from error
        self.phase = "response"

    def _wait_readable(self, timeout: float) -> None:
        self.read_deadline = self.reactor.horizon + timeout if timeout else inf
        if self.ready:
            self.ready = False
            self._watcher.start(self._readable)
        reader = self.reader = getcurrent()
        try:
            self._switch()
        except BaseException:
            self._stop_reading(reader)
            raise

    def _send_some(self, data: bytes | memoryview) -> int:
        try:
            return self.sock.send(data)  # type: ignore[no-any-return]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            raise BlockingIOError from None

    def recv(self, timeout: float, size: int = READ_SIZE) -> bytes:
        while True:
            try:
                return self.sock.recv(size)  # type: ignore[no-any-return]
            except ssl.SSLWantReadError:
                self._wait_readable(timeout)
            except ssl.SSLWantWriteError:
                self.wait_writable(timeout)
            except OSError as error:
                raise self.lost() from error

    def recv_into(self, buffer: memoryview, timeout: float) -> int:
        data = self.recv(timeout, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def is_quiet(self) -> bool:
        try:
            self.sock.recv(1)  # an SSLSocket cannot peek; whatever comes here, it is not quiet
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except OSError:
            return False
        return False

    def unexpected(self) -> None:
        if self.pool is None or self.since == inf:
            return
        try:
            self.sock.recv(1)
        except ssl.SSLWantReadError:  # a session ticket, not an end
            self.ready = False
            self._watcher.start(self._readable)
            return
        except OSError:
            pass  # broken: dropped below, like one that ended or spoke out of turn
        self.pool.drop(self)
