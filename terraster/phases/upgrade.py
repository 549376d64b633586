"""Upgrade: 101, and the tunnel after it."""

from __future__ import annotations

from terraster.errors import HttpError
from terraster.net.downstream import Downstream
from terraster.net.tunnel import Tunnel

from .attempt import Attempt
from .data_plane import DataPlane
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
    client.send(out, location.timeouts.read)
    plane.deadlines.pop(exchange, None)
    connection = client.connection
    if connection.held:
        held, connection.held = connection.held, b""
        exchange.bytes_in += len(held)
        upstream.send(held, location.timeouts.read)
    client.unwatch()  # from now on the tunnel reads its octets and its end
    tunnel = Tunnel(plane.reactor, connection, upstream, location.timeouts.tunnel)
    try:
        tunnel.run()
    except HttpError as error:  # however the tunnel ends, the answer was 101, and the end counts against no backend
        exchange.error, exchange.detail = error.reason, error.detail
    finally:
        exchange.bytes_in += tunnel.octets_in
        exchange.bytes_out += tunnel.octets_out
    return False
