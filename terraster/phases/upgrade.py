"""Upgrade: 101, and the tunnel after it."""

from __future__ import annotations

from terraster.errors import HttpError
from terraster.net.downstream import Downstream
from terraster.net.tunnel import Tunnel

from .attempt import Attempt
from .data_plane import STOPPING, DataPlane
from .downstream_head import write_head

__all__ = ["upgrade"]


def upgrade(plane: DataPlane, attempt: Attempt) -> bool:
    """Answer 101 and join the two connections until one ends. Always returns False, because neither connection can be reused."""
    exchange, upstream = attempt.exchange, attempt.upstream
    assert upstream is not None
    location = attempt.location
    client: Downstream = exchange.client
    out, _, _, _ = write_head(plane, exchange, attempt.response, False)
    out += attempt.rest
    exchange.bytes_out += len(out)
    client.begin(out, location.timeouts.read)
    plane.deadlines.pop(exchange, None)
    connection = client.connection
    websocket = (attempt.response.upgrade or b"").lower() == b"websocket"
    tunnel = Tunnel(plane.reactor, connection, upstream, location.timeouts.tunnel, websocket)
    held, connection.held = connection.held, b""
    if held:
        exchange.bytes_in += len(held)
        upstream.send(held, location.timeouts.read)
    client.unwatch()  # from now on the tunnel reads its octets and its end
    if websocket:
        assert tunnel.inwards is not None and tunnel.outwards is not None
        tunnel.inwards.feed(held)
        tunnel.outwards.feed(attempt.rest)
    plane.tunnels[tunnel] = exchange
    if plane.draining:
        tunnel.leave(plane.tunnels_until, STOPPING)
    try:
        tunnel.run()
    except HttpError as error:  # however the tunnel ends, the answer was 101, and the end counts against no backend
        exchange.error, exchange.detail = error.reason, error.detail
    finally:
        del plane.tunnels[tunnel]
        if tunnel.why:
            exchange.note(tunnel.why)
        exchange.bytes_in += tunnel.octets_in
        exchange.bytes_out += tunnel.octets_out
    return False
