"""Multiplex: HTTP/2, for the clients that choose it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from os import urandom

from terraster.errors import HttpError
from terraster.net.connection import Connection
from terraster.net.http2.request import Request
from terraster.net.http2.session import Session
from terraster.wire.http2.fields import Http2Head
from terraster.wire.http2.frames import PREFACE
from terraster.wire.http2.websocket import upgrade_head

from .data_plane import DataPlane

__all__ = ["choose", "head_of", "multiplex"]


def choose(plane: DataPlane, connection: Connection) -> bool:
    """True if the client speaks HTTP/2: over TLS it has said so in the handshake, in clear it begins with the preface (RFC 9113, section
    3.3). The first octets of any other client stay in ``connection.held``. Raises `HttpError` if there were none."""
    if plane.plan.http2(connection) is None:
        return False
    if connection.scheme == "https":
        return True
    if connection.listener.tls:
        return False
    timeout = plane.plan.timeouts.client_header
    end = plane.clock() + timeout if timeout else 0.0
    data = connection.held
    while len(data) < len(PREFACE) and PREFACE.startswith(data):
        left = max(end - plane.clock(), 0.001) if end else 0.0
        try:
            more = connection.recv(left)
        except HttpError:
            if not data:
                raise
            break
        if not more:
            break
        data += more
    connection.held = data
    return data.startswith(PREFACE)


def head_of(client: Request) -> Http2Head | HttpError:
    """The head of a request, or the error to answer. A WebSocket goes on as the Upgrade of HTTP/1.1."""
    head: Http2Head | HttpError = client.head
    if isinstance(head, HttpError) or head.protocol is None:
        return head
    try:
        return upgrade_head(head, urandom(16))
    except HttpError as error:
        return error


def multiplex(plane: DataPlane, connection: Connection, run: Callable[[Request], None], end: Callable[[Session], None]) -> None:
    """Begin to serve an HTTP/2 connection. run: serves a request, end: ends the connection; each in a greenlet of its own. Raises nothing."""
    timeouts, limits = plane.plan.timeouts, plane.plan.http2(connection)
    assert limits is not None
    plane.http2_faults.began()
    start = plane.runners.start
    session = Session(connection, limits, timeouts.read, partial(start, run), plane.http2_faults.ended, partial(start, end))
    data, connection.held = connection.held, b""
    if plane.draining or connection.listener.closed:
        session.drain()
    session.begin(data, timeouts.client_header)
