"""Clients that are slower than `limits.min_rate`: found by a look once a second, and ended as if a timeout of theirs were over.

Where a request of a location with a least rate is under way, its client is looked at. A client that is waited for is judged by
`terraster.policy.least_rate`. It sends too slowly: 408. It takes too slowly: the response breaks off. Tunnels are excepted: they may be silent.

The octets of a response that count are those that the client's kernel has acknowledged (tcp(7), TCP_INFO): our kernel takes megabytes at once,
which say nothing about the client. A stream of HTTP/2 that waits for its own window has sent all that was let through, so its octets count
as they leave. A client on a unix socket is not judged by what it takes, because that kernel tells nothing.
"""

from __future__ import annotations

from socket import AF_UNIX, IPPROTO_TCP, TCP_INFO
from struct import unpack_from
from typing import Any

from terraster.config.min_rate import MinRate
from terraster.exchange import Exchange
from terraster.policy.least_rate import LeastRate
from terraster.state.cells import SeatLocation
from terraster.state.view import SeatView

__all__ = ["LOOK", "SlowClients"]

LOOK = 1.0
"""Seconds between two looks."""

_ACKED = 120  # offset of tcpi_bytes_acked in struct tcp_info (linux/tcp.h), 8 octets
_UNKNOWN = -1


class _Watched:
    """A request that is looked at. taken: octets that the client has taken since the first look while it was waited for"""

    __slots__ = ("_acked", "_out", "incoming", "outgoing", "taken")

    def __init__(self, least: MinRate) -> None:
        self.incoming = LeastRate(least.incoming, least.grace) if least.incoming else None
        self.outgoing = LeastRate(least.outgoing, least.grace) if least.outgoing else None
        self.taken = 0
        self._acked = self._out = _UNKNOWN

    def look(self, exchange: Exchange, client: Any) -> bool:
        """Add to `taken` what the client has taken since the last look. False if it cannot be known.

        The two counts begin at different numbers, and a stream may change from one to the other. So only their growth is added."""
        acked, out = _acked(client.connection.plain.sock), exchange.bytes_out
        by_window = client.framed and client.window <= 0
        if self._out != _UNKNOWN:
            self.taken += out - self._out if by_window else acked - self._acked
        self._acked, self._out = acked, out
        return by_window or acked != _UNKNOWN


class SlowClients:
    """The requests of one worker whose clients have to keep to a least rate.

    watched: the rate of each, by exchange: a `MinRate` until its first look. A request that is over before that costs nothing more.
    """

    __slots__ = ("watched", "_looked", "_view")

    def __init__(self, view: SeatView) -> None:
        self.watched: dict[Exchange, MinRate | _Watched] = {}
        self._looked = 0.0
        self._view = view

    def sweep(self, now: float) -> None:
        """Look at all clients, and end those that are too slow. Called a few times a second, on the hub."""
        elapsed = now - self._looked
        if elapsed < LOOK:
            return
        self._looked = now
        for exchange, watched in self.watched.items():
            if isinstance(watched, MinRate):
                watched = self.watched[exchange] = _Watched(watched)
            if exchange.status != 101:
                self._look(exchange, watched, min(elapsed, 2 * LOOK))

    def _look(self, exchange: Exchange, watched: _Watched, elapsed: float) -> None:
        client, incoming, outgoing = exchange.client, watched.incoming, watched.outgoing
        way = client if client.framed else client.connection.plain
        if incoming is not None:
            body = exchange.body
            if way.reader is None or body is None:
                incoming.rest()
            elif incoming.is_too_slow(body.octets, elapsed):
                self._end(exchange, "sent")
                way.read_deadline = 0.0
        if outgoing is not None:
            if way.writer is None or not watched.look(exchange, client):
                outgoing.rest()
            elif outgoing.is_too_slow(watched.taken, elapsed):
                self._end(exchange, "took")
                way.write_deadline = 0.0

    def _end(self, exchange: Exchange, what: str) -> None:
        exchange.note(f"the client {what} less than `min_rate`")
        view = self._view
        view.q[view.locations + exchange.location.offset + SeatLocation.SLOW_CLIENTS] += 1


def _acked(sock: Any) -> int:
    """Octets of a connection that the client's kernel has acknowledged; `_UNKNOWN` on a unix socket."""
    if sock.family == AF_UNIX:
        return _UNKNOWN
    found: int = unpack_from("=Q", sock.getsockopt(IPPROTO_TCP, TCP_INFO, 192), _ACKED)[0]
    return found
