"""A health check by gRPC: one call of grpc.health.v1.Health/Check over HTTP/2, on a connection of its own.

The backend is healthy if the call succeeds and its answer is SERVING. A backend without a service for health checks answers UNIMPLEMENTED,
and one that does not know the service that it is asked about NOT_FOUND. Neither is healthy.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from urllib.parse import unquote

from terraster.errors import BadResponse
from terraster.wire.grpc import OK, STATUSES, status_in
from terraster.wire.grpc_health import CHECK, SERVING, SERVING_STATUSES, check_request, serving_status, unframed
from terraster.wire.http1 import ResponseHead

from .http2_call import call

__all__ = ["check"]

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
    answered = call(connection, _fields(scheme, authority, headers), b"POST", check_request(service), _LARGEST)
    if len(answered.body) > _LARGEST:
        raise BadResponse("a message that is too large for a health check")
    return _judge(answered.response, (*answered.response.fields, *answered.trailers), answered.body)


def _fields(scheme: str, authority: str, headers: Iterable[tuple[str, str]]) -> Fields:
    """The fields of the request's head."""
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
    return own.items()


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
