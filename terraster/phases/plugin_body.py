"""Read a request body for a plugin, before a backend is picked (`terraster.filters.runtime.Bodies`)."""

from __future__ import annotations

from terraster.exchange import Exchange
from terraster.net.body import Inlet
from terraster.net.spool import Spool
from terraster.wire.http1 import parse_response

from .data_plane import DataPlane
from .downstream_head import send_interim

__all__ = ["PluginBodies"]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class PluginBodies:
    """Reads bodies for the plugins of one worker."""

    __slots__ = ("_plane",)

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def read(self, exchange: Exchange, most: int) -> bytes | None:
        """See the contract. The octets stay in a spool in memory, and goes to the backend from there. A second plugin finds it there."""
        head = exchange.head
        length = head.content_length
        if not (length > 0 or head.chunked):
            return b""
        if length > most:
            return None
        if exchange.body is None:
            self._gather(exchange, most)
        body = exchange.body
        spool = body.spool
        if spool is None or not body.done or spool.size > most:
            return None
        return b"".join([spool.part(number) for number in range(spool.count())])

    def _gather(self, exchange: Exchange, most: int) -> None:
        head, location = exchange.head, exchange.location
        inlet: Inlet = exchange.client.inlet
        body = exchange.body = exchange.client.body(-1 if head.chunked else head.content_length, location.body_size, 0)
        body.ahead = True
        body.spool = spool = Spool(most + 65536, 0, "")
        if head.expect and not inlet.held:
            interim = parse_response(_CONTINUE, b"GET", 99, 1)
            assert interim is not None
            send_interim(self._plane, exchange, interim)
        wait = location.timeouts.client_body
        exchange.unread = -1
        data, inlet.held = inlet.held, b""
        inlet.quick_ack()
        try:
            while not body.done and spool.size <= most:
                body.take(data or inlet.recv(wait))
                data = b""
                if body.done:
                    inlet.held = body.rest
                    exchange.unread = 0
        finally:
            body.ahead = False
            exchange.bytes_in += body.octets
