"""A client's connection: the stream, and the facts about the peer. It carries many requests, each with its own `Downstream`."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import Any

from greenlet import greenlet

from terraster.config.snapshot import Http2Limits, Tls
from terraster.errors import CLIENT, ClientGone, HttpError, TimedOut
from terraster.exchange import Exchange

from .handshake import Handshake
from .stream import Stream
from .tls import TlsStream

__all__ = ["GRACE", "Connection"]

GRACE = 2.0
"""Seconds in which a connection that is not to be kept may still begin one request. Without it a request that is on its way when the
drain begins would be lost."""

_LINGER = 2.0  # seconds without an octet
_LINGER_TOTAL = 10.0  # seconds in all


class _Over:
    """The owner of a client's stream that is closed."""

    __slots__ = ()

    def unexpected(self) -> None:
        """See `terraster.net.stream.Owner`."""

    def timed_out(self, writing: bool) -> HttpError:
        """See `terraster.net.stream.Owner`."""
        if writing:
            return ClientGone("the client stopped reading")
        return TimedOut("the client was too slow", status=408, reason="http_request_error", close=True, blame=CLIENT)

    def lost(self) -> HttpError:
        """See `terraster.net.stream.Owner`."""
        return ClientGone("the client left")

    def waits_for_head(self) -> bool:
        """See `terraster.net.stream.Owner`."""
        return False


_OVER = _Over()


class Connection(_Over):
    """A client's connection, with the facts that all its requests share.

    stream:     its octets, plain or TLS; recv and send are the stream's
    plain:      the stream of its socket
    peer_ip:    the address at the other end
    client_ip, client_port: the address and port at the other end, or those of a PROXY header
    named:      the destination that a PROXY header named, else None
    private:    by pool: idle connections to backends that serve this client only (`terraster.net.private_pool`); None: there was none yet
    listener:   the acceptor of the address on which it came in
    scheme:     "http", or "https" once it speaks TLS
    tls:        the settings of its handshake, None: it is in clear
    http2:      over TLS: the limits of its HTTP/2, None: the client did not choose h2 (`terraster.plan.Plan.http2` also knows those in clear)
    certificate: the client's, if it has authenticated with one (`terraster.certs.client_certificate`)
    handshake:  the facts of its handshake, None: there was none, or it is not over
    trusted:    True if the peer is a trusted proxy by the configuration of the last request
    held:       octets that were read but not used yet
    idle_since: monotonic time since when no octet of a request has been read, at most two sweeps late; 0.0 while a request is under way
    parked:     True if no greenlet carries it, while it waits for a request (`terraster.net.parked`)
    parks_at:   monotonic time from which on it may be parked; ``inf`` unless its greenlet waits for the first octet of a request
    requests:   number of request heads begun
    keepalive:  seconds that the next request is waited for, as the location of the last one says; 0 = for ever
    lingering:  True if the client may still be sending when the connection ends
    downstream: the `terraster.net.downstream.Downstream` of its requests, which sets this field
    session:    its `terraster.net.http2.session.Session` once it speaks HTTP/2, else None
    routed, host, service: plan, Host and service of the last request, which the next one usually repeats
    fields:     the field lines about this client for every forwarded head, rendered at the first request
    """

    __slots__ = (
        "certificate",
        "client_ip",
        "client_port",
        "downstream",
        "fields",
        "handshake",
        "held",
        "host",
        "http2",
        "idle_since",
        "keepalive",
        "lingering",
        "listener",
        "named",
        "parked",
        "parks_at",
        "peer_ip",
        "plain",
        "private",
        "recv",
        "requests",
        "routed",
        "scheme",
        "send",
        "service",
        "session",
        "stream",
        "tls",
        "trusted",
    )

    def __init__(self, stream: Stream, peer_ip: str, peer_port: int, listener: Any, trusted: bool) -> None:
        self.plain = stream
        self.stream: Stream | TlsStream = stream
        self.recv = stream.recv
        self.send = stream.send
        stream.owner = self
        self.peer_ip = self.client_ip = peer_ip
        self.client_port = peer_port
        self.named: tuple[str, int] | None = None
        self.private: dict[Any, Any] | None = None
        self.listener = listener
        self.scheme = "http"
        self.trusted = trusted
        self.held = b""
        self.idle_since = stream.reactor.horizon
        self.lingering = False
        self.parked = False
        self.parks_at = inf
        self.requests = 0
        self.keepalive = 0.0
        self.routed: Any = None
        self.host = b""
        self.service: Any = None
        self.fields = b""
        self.downstream: Any = None
        self.session: Any = None
        self.tls: Tls | None = None
        self.http2: Http2Limits | None = None
        self.certificate: Any = None
        self.handshake: Handshake | None = None

    def destination(self) -> tuple[str, int] | None:
        """The IP address and port that the client connected to; None for a unix socket."""
        if self.named is not None:
            return self.named
        own = self.stream.sock.getsockname()
        return None if isinstance(own, str | bytes) else (own[0].removeprefix("::ffff:"), own[1])

    def secure(self, stream: TlsStream, tls: Tls) -> None:
        """Speak TLS from now on. tls: the settings of the service that the client's server name stands for"""
        self.tls = tls
        self.stream = stream
        self.recv = stream.recv
        self.send = self.downstream.send = stream.send
        self.scheme = "https"

    def quick_ack(self) -> None:
        """See `terraster.net.stream.Stream.quick_ack`."""
        self.stream.quick_ack()

    def abandon(self, reader: greenlet) -> None:
        """See `terraster.net.stream.Stream.abandon`."""
        self.stream.abandon(reader)

    def exchanges(self) -> list[Exchange]:
        """The requests under way."""
        if self.session is not None:
            return [request.exchange for request in self.session.requests if request.exchange is not None]
        exchange = self.downstream.exchange
        return [] if exchange is None else [exchange]

    def unexpected(self) -> None:
        """See `terraster.net.stream.Owner`."""
        self.downstream.look()

    def waits_for_head(self) -> bool:
        """See `terraster.net.stream.Owner`."""
        return self.downstream.exchange is None

    def dismiss(self, limit: float) -> None:
        """Bound the wait for a request, because the worker drains or its listener was removed. Called on the hub.

        A connection that was answered before may have its next request on the way: it gets `GRACE`. A new connection keeps the time that
        it has for its first head, but at most ``limit`` seconds. A request that comes in time is answered with `Connection: close`.
        HTTP/2 says so in frames of its own.
        """
        if self.session is not None:
            self.session.drain()
        elif self.idle_since:
            self.stream.hasten(GRACE if self.requests else limit)

    def end_idle(self) -> bool:
        """End the connection if no request is under way and nothing has arrived. True if it has ended. Called on the hub."""
        if not self.idle_since or self.plain.peek() is not None:
            return False
        return self.plain.end_wait(ClientGone("ended in favour of other clients"))

    def hurry(self) -> None:
        """Wait for the next request no longer than `GRACE`: the last answer promised that the connection is kept, but it is not."""
        self.keepalive = min(self.keepalive or GRACE, GRACE)

    def close(self) -> None:
        """End the connection. If the client may still be sending, the answer is not lost."""
        if self.private:
            for pool, upstream in list(self.private.items()):
                pool.drop(upstream)
        if self.lingering:
            self._linger()
        self.stream.close()
        self.plain.owner = _OVER  # nothing refers in a circle any more, so that the memory is free at once
        self.downstream = self.session = None

    def _linger(self) -> None:
        """Read and discard for a bounded time. A socket that is closed with unread octets sends a reset, which may overtake the answer
        (RFC 9112, section 9.6)."""
        stream = self.plain if self.handshake is None else self.stream  # an engine whose handshake failed reads nothing more
        stream.shutdown()
        clock = stream.reactor.clock
        end = clock() + _LINGER_TOTAL
        with suppress(HttpError):  # the connection ends anyway, so a timeout or a lost client does not matter
            while clock() < end and stream.recv(_LINGER):
                pass
