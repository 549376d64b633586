"""The PROXY header for a connection to a backend: the addresses of its client."""

from __future__ import annotations

from terraster.exchange import Exchange
from terraster.wire.proxy_protocol import compose

from .connection import Connection

__all__ = ["proxy_header"]


def proxy_header(version: str, exchange: Exchange) -> bytes:
    """The header for a connection that is made for this exchange. version: "v1" or "v2".

    The source is the client as the access log names it. If a trusted proxy reported it in a header field, its port is not known, and is 0.
    The destination is the address that the client connected to, or that a PROXY header named.
    """
    connection: Connection = exchange.connection
    port = connection.client_port if exchange.client_ip == connection.client_ip else 0
    return compose(version, (exchange.client_ip, port), connection.destination())
