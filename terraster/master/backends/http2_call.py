"""One request over HTTP/2 on a connection of its own, for health checks."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from typing import NamedTuple

from terraster.errors import BadResponse, HttpError
from terraster.wire.http1 import ResponseHead
from terraster.wire.http2.client import ClientSession
from terraster.wire.http2.events import DATA, END, FAILED, RESET, RESPONSE
from terraster.wire.http2.frames import NO_ERROR
from terraster.wire.http2.hpack.writer import encode
from terraster.wire.http2.limits import Limits
from terraster.wire.http2.streams import Stream

__all__ = ["Answered", "call"]

_LIMITS = Limits(max_streams=1, window=65535, connection_window=65535)
_READ = 16384


class Answered(NamedTuple):
    """A response. body: the octets that were read. trailers: as (name, value)."""

    response: ResponseHead
    body: bytes
    trailers: tuple[tuple[bytes, bytes], ...]


def call(connection: socket.socket, fields: Iterable[tuple[bytes, bytes]], method: bytes, body: bytes, most: int) -> Answered:
    """Ask on a connection that speaks HTTP/2, and say goodbye. The response is read to its end, or until more than ``most`` octets of its
    body have come.

    fields: of the request, those with ":" first. body: of the request. Raises `HttpError` if the answer is not a proper one, and `OSError`.
    """
    session = ClientSession(Stream, _LIMITS)
    session.feed(b"", time.monotonic())
    stream = session.open(encode(tuple(fields)), method, not body)
    if body:
        session.data(stream, body, True)
    _send(session, connection)
    response: ResponseHead | None = None
    got = b""
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    first = True
    while response is None or (stream.receiving and len(got) <= most):
        data = connection.recv(_READ)
        if not data:
            raise BadResponse("the backend closed the connection before its response was complete")
        if first and data[:5] == b"HTTP/":
            raise BadResponse("the backend speaks HTTP/1.1, and HTTP/2 is needed")
        first = False
        for kind, _, value in session.feed(data, time.monotonic()):
            if kind == RESPONSE:
                if isinstance(value, HttpError):
                    raise value
                response = value
            elif kind == DATA:
                got += value
                session.consumed(stream, len(value))
            elif kind == END:
                trailers = tuple(value)
            elif kind == RESET and (response is None or stream.receiving or value != NO_ERROR):
                raise BadResponse(f"the backend reset the request (error code {value})")
            elif kind == FAILED:
                raise BadResponse(f"the backend breaks the rules of HTTP/2: {value[1]}")
        _send(session, connection)
    session.goaway(NO_ERROR, 0)
    _send(session, connection)
    return Answered(response, got, trailers)


def _send(session: ClientSession, connection: socket.socket) -> None:
    if session.out:
        out, session.out = session.out, []
        connection.sendall(b"".join(out))
