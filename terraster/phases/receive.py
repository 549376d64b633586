"""Receive: read the PROXY header and request heads."""

from __future__ import annotations

from math import inf

from terraster.errors import BadRequest, ClientGone, HttpError
from terraster.net.connection import GRACE, Connection
from terraster.net.parked import PARK
from terraster.wire.heads import RequestHead
from terraster.wire.http1 import parse_request
from terraster.wire.proxy_protocol import parse as parse_proxy_header

from .data_plane import DataPlane

__all__ = ["more", "read_head", "read_proxy_header"]

_NEVER = inf
_PARK = PARK


def read_proxy_header(plane: DataPlane, connection: Connection) -> None:
    """Read the client's address from a PROXY header. Raises `HttpError`."""
    if not connection.trusted:
        raise BadRequest("PROXY header from a peer that is not trusted")
    data = b""
    timeout = plane.plan.timeouts.client_header
    end = plane.clock() + timeout if timeout else 0.0
    while (header := parse_proxy_header(data) if data else None) is None:
        data += more(plane, connection, end, bool(data))
    connection.held = data[header.size :]
    connection.trusted = bool(header.source_ip) and plane.plan.trust.trusts(header.source_ip)
    if header.source_ip:
        connection.client_ip, connection.client_port = header.source_ip, header.source_port
        connection.named = header.destination_ip, header.destination_port


def read_head(plane: DataPlane, connection: Connection) -> RequestHead | None:
    """The next request head. None if the client ended the connection or was silent for too long.

    Raises `BadRequest` for a head that cannot be read, `TimedOut` (408) for an incomplete one, and `Silence` if the connection is to be parked.
    """
    plan = plane.plan
    data = connection.held
    if data:
        connection.held = b""
    else:
        timeout = connection.keepalive if connection.requests else plan.timeouts.client_header
        if connection.parked:
            timeout = _left(plane, connection, timeout)
        else:
            connection.idle_since = plane.reactor.horizon
        connection.parks_at = plane.reactor.horizon + _PARK
        stream = connection.stream
        try:
            data = stream.recv(timeout)
        except HttpError:
            connection.parks_at = _NEVER
            return None
        connection.parks_at = _NEVER
        if not data:
            return None
    connection.idle_since = 0.0
    connection.requests += 1
    try:
        head = parse_request(data, plan.header_size, plan.header_count)
    except HttpError:
        connection.held = data
        raise
    if head is None:
        return _read_behind_empty_lines(plane, connection, data) if _is_empty(data) else _read_rest(plane, connection, data)
    if len(data) > head.size:
        connection.held = data[head.size :]
    return head


def _left(plane: DataPlane, connection: Connection, timeout: float) -> float:
    """Seconds that a connection may still wait, which was parked until now. timeout: of the whole wait, 0 = no limit"""
    connection.parked = False
    left = max(connection.idle_since + timeout - plane.clock(), 0.001) if timeout else 0.0
    return min(left or GRACE, GRACE) if connection.requests and connection.listener.closed else left


def _read_behind_empty_lines(plane: DataPlane, connection: Connection, data: bytes) -> RequestHead | None:
    """Wait for the request behind empty lines, which some clients send behind a body (RFC 9112, section 2.2). They belong to no
    request: the connection is idle as before, and they do not prolong the wait, except that it begins again once."""
    connection.requests -= 1
    timeout = connection.keepalive if connection.requests else plane.plan.timeouts.client_header
    end = plane.clock() + timeout if timeout else inf
    hurries = False
    connection.idle_since = plane.reactor.horizon
    while _is_empty(data) and len(data) < plane.plan.limits.header_size:
        now = plane.clock()
        if not hurries and connection.requests and (plane.draining or connection.listener.closed):
            hurries, end = True, min(end, now + GRACE)
        if end <= now:
            return None
        try:
            more = connection.recv(end - now if end < inf else 0.0)
        except HttpError:
            return None
        if not more:
            return None
        data += more
    connection.held = data
    return read_head(plane, connection)


def _is_empty(data: bytes) -> bool:
    """True if these octets are empty lines and nothing else."""
    return data.replace(b"\r\n", b"") in (b"", b"\r")


def _read_rest(plane: DataPlane, connection: Connection, data: bytes) -> RequestHead | None:
    """Read a head that did not arrive in one piece. `client_header` bounds the whole head, not the time between octets, because a client
    that sends one octet a second is an attacker.

    If the head cannot be read, its octets stay in ``connection.held``."""
    timeout, limits = plane.plan.timeouts.client_header, plane.plan.limits
    end = plane.clock() + timeout if timeout else 0.0
    while True:
        connection.held = data
        try:
            arrived = more(plane, connection, end)
        except ClientGone:
            return None
        seen = len(data)
        connection.held = data = data + arrived
        head = parse_request(data, limits.header_size, limits.header_count, seen)
        if head is not None:
            connection.held = data[head.size :]
            return head


def more(plane: DataPlane, connection: Connection, end: float, begun: bool = True) -> bytes:
    """More octets of a head, or of a client's hello, that must be complete by ``end`` (monotonic time, 0.0 = no limit). begun: True if a part
    of it has arrived."""
    left = end - plane.clock() if end else 0.0
    if end and left <= 0:  # 0 would mean: for ever
        raise connection.timed_out(False)
    if begun:
        connection.stream.quick_ack()
    arrived = connection.recv(left)
    if not arrived:
        raise ClientGone("the client left")
    return arrived
