"""A health check by gRPC: one call of grpc.health.v1.Health/Check over HTTP/2, on a connection of its own.

The backend is healthy if the call succeeds and its answer is SERVING. A backend without a service for health checks answers UNIMPLEMENTED,
and one that does not know the service that it is asked about NOT_FOUND. Neither is healthy.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from urllib.parse import unquote

from terraster.errors import BadResponse, HttpError
from terraster.wire.grpc import OK, STATUSES, status_in
from terraster.wire.grpc_health import CHECK, SERVING, SERVING_STATUSES, check_request, serving_status, unframed
from terraster.wire.http1 import ResponseHead
from terraster.wire.http2.client import ClientSession
from terraster.wire.http2.events import DATA, END, FAILED, RESET, RESPONSE
from terraster.wire.http2.frames import NO_ERROR
from terraster.wire.http2.hpack.writer import encode
from terraster.wire.http2.limits import Limits
from terraster.wire.http2.streams import Stream

__all__ = ["check"]

_LIMITS = Limits(max_streams=1, window=65535, connection_window=65535)
_READ = 16384
_LARGEST = 4096
"""Octets of a response body. That of a health check has 7."""

Fields = Iterable[tuple[bytes, bytes]]


def check(
    connection: socket.socket, scheme: str, authority: str, service: str, headers: Iterable[tuple[str, str]]
) -> tuple[bool, str]:
    """Ask on a connection that speaks HTTP/2. True if the backend is healthy, and a few words that say why. headers: names and values that
    replace those that a probe sends by itself.

    Raises `HttpError` if the answer is not a proper one, `OSError`, and what the caller's timeout throws.
    """
    session = ClientSession(Stream, _LIMITS)
    session.feed(b"", time.monotonic())
    stream = session.open(_head(scheme, authority, headers), b"POST", False)
    session.data(stream, check_request(service), True)
    _send(session, connection)
    response: ResponseHead | None = None
    body = b""
    trailers: Fields = ()
    first = True
    while response is None or stream.receiving:
        data = connection.recv(_READ)
        if not data:
            raise BadResponse("the backend closed the connection before its response was complete")
        if first and data[:5] == b"HTTP/":
            raise BadResponse("the backend speaks HTTP/1, and gRPC needs HTTP/2")
        first = False
        for kind, _, value in session.feed(data, time.monotonic()):
            if kind == RESPONSE:
                if isinstance(value, HttpError):
                    raise value
                response = value
            elif kind == DATA:
                body += value
                session.consumed(stream, len(value))
                if len(body) > _LARGEST:
                    raise BadResponse("a message that is too large for a health check")
            elif kind == END:
                trailers = value
            elif kind == RESET and (response is None or stream.receiving or value != NO_ERROR):
                raise BadResponse(f"the backend reset the call (error code {value})")
            elif kind == FAILED:
                raise BadResponse(f"the backend breaks the rules of HTTP/2: {value[1]}")
        _send(session, connection)
    session.goaway(NO_ERROR, 0)
    _send(session, connection)
    return _judge(response, (*response.fields, *trailers), body)


def _head(scheme: str, authority: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """The block of the request's head."""
    own = {
        b":method": b"POST",
        b":scheme": scheme.encode("ascii"),
        b":path": CHECK,
        b":authority": authority.encode("latin-1"),
        b"content-type": b"application/grpc",
        b"te": b"trailers",
        b"user-agent": b"terraster-health-check",
    }
    for name, value in headers:
        lower = name.lower().encode("latin-1")
        own[b":authority" if lower == b"host" else lower] = value.encode()
    return encode(own.items())


def _send(session: ClientSession, connection: socket.socket) -> None:
    if session.out:
        out, session.out = session.out, []
        connection.sendall(b"".join(out))


def _judge(response: ResponseHead, fields: Fields, body: bytes) -> tuple[bool, str]:
    """The result of a complete answer. fields: of its head and its trailers. Raises `BadResponse`."""
    if response.status != 200:
        return False, f"status {response.status}"
    status = status_in(fields)
    if status < 0:
        raise BadResponse("an answer without grpc-status")
    if status != OK:
        message = "".join([unquote(value.decode("latin-1")) for name, value in fields if name == b"grpc-message"])
        return False, f"{STATUSES[status]}: {message}" if message else STATUSES[status]
    serving = serving_status(unframed(body))
    told = SERVING_STATUSES[serving] if serving < len(SERVING_STATUSES) else f"serving status {serving}"
    return serving == SERVING, told
