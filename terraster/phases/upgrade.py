"""Upgrade: 101, and the tunnel after it."""

from __future__ import annotations

from terraster.errors import BadResponse, HttpError
from terraster.net.downstream import Downstream
from terraster.net.http2.request import Request
from terraster.net.tunnel import Tunnel
from terraster.net.upstream import Upstream
from terraster.state.cells import SeatBackend
from terraster.wire.http2.websocket import TunnelHead, agrees

from .attempt import Attempt
from .data_plane import STOPPING, DataPlane
from .downstream_head import write_head

__all__ = ["upgrade"]


def upgrade(plane: DataPlane, attempt: Attempt) -> bool:
    """Answer 101 and join the two connections until one ends. Always returns False, because neither connection can be reused."""
    exchange, upstream = attempt.exchange, attempt.upstream
    assert isinstance(upstream, Upstream)
    if isinstance(exchange.head, TunnelHead) and not agrees(exchange.head, attempt.response):
        raise BadResponse("the backend agreed to another WebSocket than this one")
    location = attempt.location
    client: Downstream | Request = exchange.client
    out, _, _, _, _ = write_head(plane, exchange, attempt.response, False)
    exchange.bytes_out += len(out) + len(attempt.rest)
    client.begin(out, attempt.rest, location.read_timeout)
    plane.deadlines.pop(exchange, None)
    inlet = client.inlet
    websocket = (attempt.response.upgrade or b"").lower() == b"websocket"
    tunnel = Tunnel(plane.reactor, inlet, upstream, location.timeouts.tunnel, websocket)
    held, inlet.held = inlet.held, b""
    if held:
        exchange.bytes_in += len(held)
        upstream.send(held, location.read_timeout)
    client.unwatch()  # from now on the tunnel reads its octets and its end
    if websocket:
        assert tunnel.inwards is not None and tunnel.outwards is not None
        tunnel.inwards.feed(held)
        tunnel.outwards.feed(attempt.rest)
    plane.tunnels[tunnel] = exchange
    cell = attempt.member.offset + SeatBackend.TUNNELS
    plane.view.q[plane.view.backends + cell] += 1
    if plane.draining:
        tunnel.leave(plane.tunnels_until, STOPPING)
    try:
        tunnel.run()
    except HttpError as error:  # however the tunnel ends, the answer was 101, and the end counts against no backend
        exchange.error, exchange.detail = error.reason, error.detail
    finally:
        del plane.tunnels[tunnel]
        plane.view.q[plane.view.backends + cell] -= 1
        if tunnel.why:
            exchange.note(tunnel.why)
        exchange.bytes_in += tunnel.octets_in
        exchange.bytes_out += tunnel.octets_out
    return False
