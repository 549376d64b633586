"""Where a backend is reached: its addresses, its pool of idle connections, its TLS settings. One `Origin` per backend and worker.

Origins are keyed by the stable backend id and outlive plans: a reload that leaves a backend alone leaves its connections alone.
"""

from __future__ import annotations

import ipaddress
import socket
from time import monotonic
from typing import Any

import gevent
from gevent import get_hub

from terraster.config.snapshot import Backend, ConnectionPool
from terraster.errors import ConnectFailed, HttpError
from terraster.state.view import SeatView

from .stream import Reactor
from .tls import TlsUpstream, client_context
from .upstream import Pool, Upstream, make_socket

__all__ = ["Origin"]

_NAME_LIFE = 10.0
"""Seconds a resolved name is used before it is looked up again."""

Address = tuple[int, Any]


class Origin:
    """One backend as this worker reaches it.

    backend: the configuration's value. offset: of its row in a seat (add `SeatView.backends`). pool: idle connections.
    """

    __slots__ = ("backend", "offset", "pool", "_addresses", "_context", "_fixed", "_fresh_until", "_reactor")

    def __init__(self, reactor: Reactor, backend: Backend, offset: int, limits: ConnectionPool, view: SeatView) -> None:
        self.backend = backend
        self.offset = offset
        self.pool = Pool(reactor, limits, view, offset)
        self._reactor = reactor
        self._addresses: list[Address] = _literal(backend.host, backend.port)
        self._fixed = bool(self._addresses)
        self._fresh_until = 0.0
        self._context = client_context(backend.skip_tls_verify) if backend.scheme == "https" else None

    def serves(self, backend: Backend | None) -> bool:
        """Whether connections of this origin may carry requests for a backend of the same id in another configuration."""
        mine = self.backend
        return backend is not None and (mine.sni, mine.skip_tls_verify, mine.slot) == (
            backend.sni,
            backend.skip_tls_verify,
            backend.slot,
        )

    def connect(self, timeout: float) -> Upstream:
        """A new connection: the first of the backend's addresses that accepts. Where there may be no more, waits until there may, or
        until one is idle. Raises `ConnectFailed`, `NoRoom`."""
        addresses = self._addresses if self._fixed else self._look_up(timeout)
        failure: ConnectFailed | None = None
        for family, address in addresses:
            if not self.pool.admit() and (idle := self.pool.wait(timeout)) is not None:
                return idle
            upstream = self._stream(family)
            try:
                upstream.connect(address, timeout)
                self._prefer(family, address)
                return upstream
            except ConnectFailed as error:
                upstream.close()
                failure = error
            except BaseException:
                upstream.close()
                raise
        raise failure or ConnectFailed("the backend has no address", reason="dns_error")

    def _stream(self, family: int) -> Upstream:
        """A connection that the pool has admitted, not connected yet."""
        try:
            sock = make_socket(family)
        except HttpError:
            self.pool.left()
            raise
        if self._context is None:
            return Upstream(self._reactor, sock, self.pool)
        name = self.backend.sni or self.backend.host
        return TlsUpstream(self._reactor, sock, self.pool, self._context, name)

    def _prefer(self, family: int, address: Any) -> None:
        """Begin with this address the next time: it worked."""
        if self._addresses[0] != (family, address):
            self._addresses = sorted(self._addresses, key=lambda one: one != (family, address))

    def _look_up(self, timeout: float) -> list[Address]:
        now = monotonic()
        if now < self._fresh_until:
            return self._addresses
        if self._addresses:  # one asks, the others go on with the last good answer
            self._fresh_until = now + (timeout or _NAME_LIFE)
        try:
            with gevent.Timeout(timeout or None, TimeoutError("name resolution")):
                found = get_hub().resolver.getaddrinfo(self.backend.host, self.backend.port, 0, socket.SOCK_STREAM)
        except OSError as error:
            if self._addresses:  # the last good answer serves until there is a better one
                self._fresh_until = now + 1.0
                return self._addresses
            raise ConnectFailed("the backend's name does not resolve", reason="dns_error") from error
        first = self._addresses[:1]
        self._addresses = [(int(family), address) for family, _, _, _, address in found]
        self._addresses.sort(key=lambda one: one not in first)
        self._fresh_until = now + _NAME_LIFE
        return self._addresses

    def close(self) -> None:
        """Forget the backend: idle connections are closed now, busy ones when their request ends."""
        self.pool.close()


def _literal(host: str, port: int) -> list[Address]:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return []
    if address.version == 4:
        return [(socket.AF_INET, (host, port))]
    return [(socket.AF_INET6, (host, port, 0, 0))]
