"""The way to a backend: its address, its pool of idle connections, its TLS settings. One `Origin` per backend and worker.

Origins are keyed by the stable backend id and outlive plans: a reload that does not change a backend does not touch its connections. The master
resolves names (`terraster.master.discovery.names`), so a backend's address is a value of the plan and the same in every worker.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import replace
from typing import Any

from terraster.config.snapshot import Backend, ConnectionPool
from terraster.errors import ConnectFailed
from terraster.exchange import CONNECT_TIME, QUEUE_TIME, TLS_TIME, Exchange
from terraster.state.times import connected
from terraster.state.view import SeatView

from .client_tls import ClientTls, ContextsOfBackends
from .http2.backend_request import BackendRequest
from .http2.backend_session import BackendSession
from .http2.shared_pool import SharedPool
from .pool import Pool
from .private_pool import PrivatePool
from .proxy_header import proxy_header
from .reactor import Reactor
from .stream import Stream
from .tcp_keepalive import Options
from .tls import TlsStream
from .upstream import Upstream, make_socket

__all__ = ["Origin"]


class Origin:
    """One backend, with this worker's connections to it.

    backend: the configuration's value. offset: of its row in a seat (add `SeatView.backends`). pool: idle connections.
    shared: True if its connections speak HTTP/2
    keepalive: TCP keepalive of connections from now on.
    """

    __slots__ = (
        "backend",
        "keepalive",
        "offset",
        "pool",
        "shared",
        "_address",
        "_apart",
        "_contexts",
        "_family",
        "_reactor",
        "_send_proxy",
        "_tls",
        "_view",
    )

    def __init__(
        self,
        reactor: Reactor,
        backend: Backend,
        offset: int,
        limits: ConnectionPool,
        view: SeatView,
        contexts: ContextsOfBackends,
    ) -> None:
        self.backend = backend
        self.keepalive: Options = ()
        self.offset = offset
        self._send_proxy = backend.send_proxy
        self.shared = backend.http2
        self._apart: Origin | None = None
        self._contexts = contexts
        self._view = view
        if backend.http2:
            self.pool: Pool = SharedPool(reactor, limits, view, offset, self._open)
        elif backend.send_proxy:
            self.pool = PrivatePool(reactor, limits, view, offset, backend.send_proxy)
        else:
            self.pool = Pool(reactor, limits, view, offset)
        self._reactor = reactor
        self._family, self._address = _socket_address(backend.address or backend.host, backend.port)
        self._tls = ClientTls(backend, contexts) if backend.scheme == "https" else None

    def serves(self, backend: Backend | None) -> bool:
        """True if connections of this origin may carry requests for the backend of the same id in another configuration."""
        return backend is not None and _way(self.backend) == _way(backend)

    def connect(self, exchange: Exchange, timeout: float) -> Upstream:
        """A connection to the backend for this exchange. At the limit of connections, waits until one may be opened or one is idle. Raises
        `ConnectFailed`, `NoRoom`."""
        if self._address is None:
            raise _unresolved()
        client, header = None, b""
        if self._send_proxy:
            # Before the first wait: an exchange that is over has no client, and a hedged attempt is ended a turn later.
            client, header = exchange.connection, proxy_header(self._send_proxy, exchange)
        clock = self._reactor.clock
        if not self.pool.admit():
            began = clock()
            try:
                idle = self.pool.wait(exchange, timeout)
            finally:
                exchange.spent(QUEUE_TIME, clock() - began)
            if idle is not None:
                return idle
        stream = self._stream(self._family)
        upstream = Upstream(stream, self.pool)
        upstream.client, upstream.header = client, header
        try:
            if self._tls is None:
                exchange.spent(CONNECT_TIME, self._reach(upstream, stream, timeout))
                if header:
                    upstream.send(header, timeout)
            else:
                began = clock()
                spent = self._shake(upstream, stream, TlsStream(stream, self._tls), header, timeout)
                exchange.spent(CONNECT_TIME, spent)
                exchange.spent(TLS_TIME, clock() - began - spent)
        except BaseException:
            upstream.close()
            raise
        return upstream

    def request(self, exchange: Exchange, block: bytes, end: bool, fresh: bool, timeout: float, write: float) -> BackendRequest:
        """Send a request over HTTP/2. Only if ``shared``.

        block: of its head. end: True if no body follows. fresh, timeout, write: as in `SharedPool.session`. Raises `ConnectFailed`, `NoRoom`.
        """
        if self._address is None:
            raise _unresolved()
        pool = self.pool
        assert isinstance(pool, SharedPool)
        session = pool.session(not (exchange.idempotent and end), fresh, timeout, write)
        return session.request(block, exchange.method, end)

    def _open(self, timeout: float, write: float, allowed: int) -> BackendSession:
        """See `SharedPool`."""
        assert isinstance(self.pool, SharedPool)
        stream = self._stream(self._family)
        upstream = Upstream(stream, self.pool)
        try:
            if self._tls is None:
                self._reach(upstream, stream, timeout)
                return BackendSession(stream, stream, self.pool, write, allowed)
            tls = TlsStream(stream, self._tls)
            self._shake(upstream, stream, tls, b"", timeout)
            if tls.engine.selected_alpn_protocol() != "h2":
                raise ConnectFailed(
                    "the backend did not choose HTTP/2 in the TLS handshake", reason="tls_protocol_error", lasting=True
                )
            return BackendSession(tls, stream, self.pool, write, allowed)
        except BaseException:
            upstream.close()
            raise

    def for_upgrades(self) -> Origin:
        """The way for a request that asks for an upgrade, which HTTP/2 does not have: a connection of its own, with HTTP/1.1."""
        if not self.shared:
            return self
        if self._apart is None:
            backend = replace(self.backend, http2=False)
            self._apart = Origin(self._reactor, backend, self.offset, self.pool.limits, self._view, self._contexts)
            self._apart.close()  # it keeps no connection
        self._apart.keepalive = self.keepalive
        self._apart.pool.limits = self.pool.limits
        return self._apart

    def _shake(self, upstream: Upstream, stream: Stream, tls: TlsStream, header: bytes, timeout: float) -> float:
        """Connect, and do the TLS handshake. header: goes before it. timeout: seconds for both, 0 = no limit. Returns the seconds that the
        connection took without the handshake."""
        clock = self._reactor.clock
        begun = clock()
        spent = self._reach(upstream, stream, timeout)
        if header:
            upstream.send(header, timeout)
        left = max(timeout - (clock() - begun), 0.001) if timeout else 0.0
        upstream.start_tls(tls, left)
        return spent

    def _reach(self, upstream: Upstream, stream: Stream, timeout: float) -> float:
        """Connect. Returns the seconds that it took, which are counted."""
        clock = self._reactor.clock
        begun = clock()
        upstream.connect(stream, self._address, timeout)
        spent = clock() - begun
        connected(self._view, self.offset, spent)
        return spent

    def _stream(self, family: int) -> Stream:
        """The stream of a connection that the pool has admitted. It is not connected yet."""
        try:
            sock = make_socket(self._reactor, family, self.keepalive)
            try:
                return Stream(self._reactor, sock)
            except BaseException:
                sock.close()
                raise
        except BaseException:
            self.pool.left()
            raise

    def close(self) -> None:
        """Close idle connections now, and busy ones when their request ends."""
        self.pool.close()


def _unresolved() -> ConnectFailed:
    return ConnectFailed("the backend's name does not resolve", reason="dns_error")


def _way(backend: Backend) -> tuple[Any, ...]:
    """The settings on which a connection depends."""
    tls = backend.sni, backend.skip_tls_verify, backend.credentials
    return backend.address, backend.host, backend.port, tls, backend.send_proxy, backend.http2, backend.slot


def _socket_address(host: str, port: int) -> tuple[int, Any]:
    """The family of an IP address or of "unix:/path", and the address for `socket.connect`. None for a name, because only the master resolves
    names."""
    if host.startswith("unix:"):
        return socket.AF_UNIX, host[5:]
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return socket.AF_UNSPEC, None
    return (socket.AF_INET, (host, port)) if version == 4 else (socket.AF_INET6, (host, port, 0, 0))
