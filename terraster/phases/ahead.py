"""Read ahead: a request body before a backend is picked, and a response body before the client takes it (`buffer`)."""

from __future__ import annotations

from terraster.exchange import Exchange
from terraster.filters.buffer import Buffering
from terraster.net.body import Inlet, PlainSink, RequestBody, Source, relay_body
from terraster.net.buffered import BufferedSource
from terraster.net.spool import Spool
from terraster.net.transformed import relay_transformed
from terraster.wire.http1 import parse_response
from terraster.wire.transform import Transform

from .attempt import Attempt
from .data_plane import DataPlane
from .downstream_head import send_interim

__all__ = ["gather", "let_go", "relay_ahead"]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def gather(plane: DataPlane, exchange: Exchange, body: RequestBody) -> None:
    """Read the body into a spool. When the spool is full, the rest is left for the backend to wait for. Raises `HttpError`."""
    if body.spool is not None:  # a plugin has read it
        return
    buffering: Buffering = exchange.buffering
    inlet: Inlet = exchange.client.inlet
    buffering.requests.count()
    body.ahead = True
    body.spool = spool = Spool(buffering.memory, buffering.disk, buffering.directory)
    if exchange.head.expect and not inlet.held:
        head = parse_response(_CONTINUE, b"GET", 99, 1)
        assert head is not None
        send_interim(plane, exchange, head)
    wait = exchange.location.timeouts.client_body
    exchange.unread = -1
    before = body.octets
    data, inlet.held = inlet.held, b""
    inlet.quick_ack()
    try:
        while not (body.done or spool.full):
            body.take(data or inlet.recv(wait))
            data = b""
            if body.done:
                inlet.held = body.rest
                exchange.unread = 0
    finally:
        body.ahead = False
        exchange.bytes_in += body.octets - before
        _count(buffering, spool)


def let_go(exchange: Exchange) -> None:
    """Forget a body that was gathered."""
    body = exchange.body
    if body is not None and body.spool is not None:
        body.spool.close()


def relay_ahead(attempt: Attempt, source: Source, sink: PlainSink, transform: Transform | None) -> None:
    """Relay a response body, and read it as fast as the backend sends it. The attempt is over when the backend has sent all. Raises
    `HttpError`."""
    buffering, reactor = attempt.exchange.buffering, attempt.plane.reactor
    spool = Spool(buffering.memory, buffering.disk, buffering.directory)
    buffering.responses.count()
    ahead = BufferedSource(source, spool, reactor, attempt.delivered)
    try:
        if transform is None:
            relay_body(ahead, sink)
        else:
            relay_transformed(ahead, sink, transform, reactor)
    finally:
        ahead.stop()
        _count(buffering, spool)


def _count(buffering: Buffering, spool: Spool) -> None:
    if spool.spilled:
        buffering.spilled.count()
    if spool.failed:
        buffering.failures.count()
