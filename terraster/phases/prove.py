"""Prove: answer an authority that wants to see that a name is ours, before anything else has a say in it."""

from __future__ import annotations

from terraster.exchange import Exchange
from terraster.filters.answer import Answer
from terraster.net.connection import Connection
from terraster.net.handshake import Handshake
from terraster.net.tls import TlsStream
from terraster.wire.client_hello import ClientHello

from .data_plane import DataPlane

__all__ = ["Proof", "answer", "shake"]

_GET = (b"GET", b"HEAD")


class Proof(Handshake):
    """A handshake of tls-alpn-01: the connection ends with it."""

    __slots__ = ()


def answer(plane: DataPlane, exchange: Exchange) -> Answer | None:
    """The answer of http-01 (RFC 8555, section 8.3) on a listener in clear; None if the request is an ordinary one, or has a token that we do
    not have."""
    connection: Connection = exchange.connection
    head = exchange.head
    if connection.listener.tls or head.method not in _GET:
        return None
    found = plane.challenges.authorization(head.target)
    return None if found is None else Answer(200, ((b"Content-Type", b"application/octet-stream"),), found)


def shake(plane: DataPlane, connection: Connection, hello: ClientHello, received: bytearray, end: float) -> Proof | None:
    """Do the handshake of tls-alpn-01 (RFC 8737, section 3). None if no order is under way for the name. Raises `HttpError`."""
    context = plane.challenges.context(hello.server_name)
    if context is None:
        return None
    stream = TlsStream(connection.plain, context)
    stream.accept(received, end)
    proof = Proof.of(stream.inner, hello.server_name)
    stream.shutdown()
    return proof
