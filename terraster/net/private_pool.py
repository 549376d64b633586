"""The pool of a backend that is told the client's address by a PROXY header (`send_proxy`).

The header describes a whole connection, so a connection serves one client connection only, as with HAProxy's ``send-proxy``. It is kept while
that client is connected, and ends with it. If a trusted proxy reports different clients on one connection, each change of the client needs a
new connection to the backend.
"""

from __future__ import annotations

from terraster.config.snapshot import ConnectionPool
from terraster.exchange import Exchange
from terraster.state.view import SeatView

from .connection import Connection
from .pool import Pool
from .proxy_header import proxy_header
from .reactor import Reactor
from .upstream import Upstream

__all__ = ["PrivatePool"]


class PrivatePool(Pool):
    """Like `Pool`, but each idle connection is for one client. `Connection.private` has it.

    version: of the PROXY header, "v1" or "v2"
    """

    __slots__ = ("version",)

    def __init__(self, reactor: Reactor, limits: ConnectionPool, view: SeatView, offset: int, version: str) -> None:
        super().__init__(reactor, limits, view, offset)
        self.version = version

    def take(self, exchange: Exchange, look: bool) -> Upstream | None:
        """The idle connection for this client, or None. See `Pool.take`."""
        if self._fresh_until and self._once():
            return None
        connection: Connection = exchange.connection
        upstream: Upstream | None = connection.private.get(self) if connection.private else None
        if upstream is None:
            return None
        age = self.reactor.clock() - upstream.since
        if upstream.header != proxy_header(self.version, exchange) or (self.keepalive.seconds and age > self.keepalive.usable):
            self.drop(upstream)
            return None
        self.forget(upstream)
        if not (look or upstream.doubtful) or upstream.is_quiet():
            upstream.doubtful = False
            return upstream
        upstream.close()
        return None

    def spare(self, exchange: Exchange) -> Upstream | None:
        """None, because the connections of other clients cannot serve this one. The oldest is closed, so that another one may be opened."""
        self.drop(next(iter(self.idle)))
        return None

    def keep(self, upstream: Upstream) -> None:
        """See `Pool.keep`. A connection whose client has gone is closed."""
        client = upstream.client
        if client is None or client.stream.closed:
            upstream.close()
            return
        super().keep(upstream)
        if upstream in self.idle:
            if client.private is None:
                client.private = {}
            before = client.private.get(self)
            client.private[self] = upstream
            if before is not None:  # of a hedged request: one is enough
                self.drop(before)

    def forget(self, upstream: Upstream) -> None:
        """See `Pool.forget`."""
        super().forget(upstream)
        if upstream.client.private.get(self) is upstream:
            del upstream.client.private[self]
