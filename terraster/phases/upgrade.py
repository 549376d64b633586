"""Upgrade: 101, and the tunnel behind it."""

from __future__ import annotations

from terraster.errors import HttpError
from terraster.net.downstream import Downstream
from terraster.net.tunnel import Tunnel

from .attempt import Attempt
from .data_plane import DataPlane
from .downstream_head import write_head

__all__ = ["upgrade"]


def upgrade(plane: DataPlane, attempt: Attempt) -> bool:
    """Answer 101 and join the two connections until one ends. Always False: no connection can be used again."""
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
    client.unwatch()  # from now on its octets are read, and so is its end
    tunnel = Tunnel(plane.reactor, connection, upstream, location.timeouts.tunnel)
    try:
        tunnel.run()
    except HttpError as error:  # however a tunnel ends, the switch had been answered: it stays a 101, and nobody is to blame
        exchange.error, exchange.detail = error.reason, error.detail
    finally:
        exchange.bytes_in += tunnel.octets_in
        exchange.bytes_out += tunnel.octets_out
    return False
