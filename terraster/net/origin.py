"""Where a backend is reached: its address, its pool of idle connections, its TLS settings. One `Origin` per backend and worker.

Origins are keyed by the stable backend id and outlive plans: a reload that leaves a backend alone leaves its connections alone. Names are
resolved by the master (`terraster.master.names`): what a backend is reached at is a value of the plan, the same in every worker.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from terraster.config.snapshot import Backend, ConnectionPool
from terraster.errors import ConnectFailed
from terraster.state.view import SeatView

from .reactor import Reactor
from .stream import Stream
from .tls import TlsStream, client_context
from .upstream import Pool, Upstream, make_socket

__all__ = ["Origin"]


class Origin:
    """One backend as this worker reaches it.

    backend: the configuration's value. offset: of its row in a seat (add `SeatView.backends`). pool: idle connections.
    """

    __slots__ = ("backend", "offset", "pool", "_address", "_context", "_family", "_reactor")

    def __init__(self, reactor: Reactor, backend: Backend, offset: int, limits: ConnectionPool, view: SeatView) -> None:
        self.backend = backend
        self.offset = offset
        self.pool = Pool(reactor, limits, view, offset)
        self._reactor = reactor
        self._family, self._address = _socket_address(backend.address or backend.host, backend.port)
        self._context = client_context(backend.skip_tls_verify) if backend.scheme == "https" else None

    def serves(self, backend: Backend | None) -> bool:
        """Whether connections of this origin may carry requests for a backend of the same id in another configuration."""
        return backend is not None and _way(self.backend) == _way(backend)

    def connect(self, timeout: float) -> Upstream:
        """A new connection. Where there may be no more, waits until there may, or until one is idle. Raises `ConnectFailed`, `NoRoom`."""
        if self._address is None:
            raise ConnectFailed("the backend's name does not resolve", reason="dns_error")
        if not self.pool.admit() and (idle := self.pool.wait(timeout)) is not None:
            return idle
        stream = self._stream(self._family)
        upstream = Upstream(stream, self.pool)
        try:
            tls = None
            if self._context is not None:
                tls = TlsStream(stream, self._context, self.backend.sni or self.backend.host)
            upstream.connect(stream, self._address, timeout)
            if tls is not None:
                upstream.start_tls(tls, timeout)
        except BaseException:
            upstream.close()
            raise
        return upstream

    def _stream(self, family: int) -> Stream:
        """The stream of a connection that the pool has admitted, not connected yet."""
        try:
            sock = make_socket(self._reactor, family)
            try:
                return Stream(self._reactor, sock)
            except BaseException:
                sock.close()
                raise
        except BaseException:
            self.pool.left()
            raise

    def close(self) -> None:
        """Forget the backend: idle connections are closed now, busy ones when their request ends."""
        self.pool.close()


def _way(backend: Backend) -> tuple[Any, ...]:
    """What a connection depends on."""
    return backend.address, backend.host, backend.port, backend.sni, backend.skip_tls_verify, backend.slot


def _socket_address(host: str, port: int) -> tuple[int, Any]:
    """The family of an IP address, and the address as `socket.connect` wants it; None for a name: the master resolves those."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return socket.AF_UNSPEC, None
    return (socket.AF_INET, (host, port)) if version == 4 else (socket.AF_INET6, (host, port, 0, 0))
