"""The head for a backend: the client's head, with our fields about the client, the edits of hooks, and the path to ask for."""

from __future__ import annotations

from terraster.balance.contract import Member
from terraster.exchange import Exchange
from terraster.net.connection import Connection
from terraster.wire.edits import Edits, without
from terraster.wire.heads import RequestHead
from terraster.wire.http2.backend_fields import request_block
from terraster.wire.names import FORWARDED_HOST, FORWARDED_PORT, FORWARDED_PROTO, UPGRADE, with_dashes
from terraster.wire.octets import joined

from .call import left

__all__ = ["upstream_head"]

_NOTHING: frozenset[bytes] = frozenset()
_HOST = frozenset((b"host",))
_UPGRADE = frozenset((UPGRADE,))
_TIMEOUT = frozenset((b"grpc-timeout",))


def upstream_head(exchange: Exchange, member: Member, framed: bool) -> bytes:
    """The head for a backend. The hooks of `on_upstream` are applied here and nowhere else.

    framed: True: a block of fields of HTTP/2; False: lines of HTTP/1.1
    """
    head: RequestHead = exchange.head
    location = exchange.location
    connection: Connection = exchange.connection
    if exchange.said is not None:
        keep = location.keep_trusted
        extra = _fields_from_trusted(exchange, connection, head)
    else:
        keep = location.keep
        fields = connection.fields or _fields_about(connection)
        if exchange.host:
            extra = joined((fields, b"X-Forwarded-Host: ", exchange.host, b"\r\nX-Request-ID: ", exchange.request_id, b"\r\n"))
        else:
            extra = joined((fields, b"X-Request-ID: ", exchange.request_id, b"\r\n"))
        if not head.minor:
            extra = extra.replace(b"Via: 1.1 ", b"Via: 1.0 ", 1)
    drop: frozenset[bytes] = _NOTHING
    if location.on_upstream:
        edits = Edits()
        for hook in location.on_upstream:
            hook(exchange, edits)
        drop = frozenset(edits.drop)
        if drop:
            extra = without(extra, drop)  # rules override even our own fields
            if location.drops_twins:
                drop = with_dashes(drop)
        extra += edits.extra
    if exchange.grpc is not None and b"grpc-timeout" not in drop:
        extra, drop = _with_deadline(exchange, extra, drop)
    if head.chunked and exchange.body is not None:
        exchange.body.drop = drop | head.names()  # a trailer must not overlay a field of the head
    if head.upgrade is not None:
        extra += b"Connection: Upgrade\r\n"
        keep = keep | _UPGRADE
    path, joint = exchange.path, b"?"
    if not location.passthrough and path != b"*":
        path = location.forward_path(path, member)
        joint = b"&" if b"?" in path else b"?"
    if exchange.query or head.target[-1] == 63:  # "?": an empty query differs from no query
        path = b"%b%b%b" % (path, joint, exchange.query)
    if (exchange.host != head.host or not head.host) and b"host" not in drop:
        # RFC 9112, section 3.2.2: the authority of an absolute target replaces Host. An HTTP/1.0 request may have no host.
        extra = b"Host: %b\r\n%b" % (exchange.host or member.backend.authority.encode("ascii"), extra)
        drop = drop | _HOST
    if framed:
        return request_block(head, path, member.backend.scheme.encode("ascii"), keep, drop, extra)
    return head.forward(path, keep, drop, extra)


def _with_deadline(exchange: Exchange, extra: bytes, drop: frozenset[bytes]) -> tuple[bytes, frozenset[bytes]]:
    """Replace the time that the client gave the call by what is left of it for this attempt."""
    seconds = left(exchange)
    return (b"%bgrpc-timeout: %b\r\n" % (extra, seconds), drop | _TIMEOUT) if seconds else (extra, drop)


def _fields_about(connection: Connection) -> bytes:
    """The field lines about the client, which are the same for all requests of a connection."""
    scheme = connection.scheme.encode("ascii")
    version = b"1.1" if connection.session is None else b"2.0"
    certificate = b"" if connection.certificate is None else connection.certificate.fields
    if connection.client_ip == "unix":  # there is no address, so none is sent
        connection.fields = b"%bX-Forwarded-Proto: %b\r\nVia: %b terraster\r\n" % (certificate, scheme, version)
        return connection.fields
    client_ip = connection.client_ip.encode("ascii")
    connection.fields = (
        b"%bX-Forwarded-For: %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %d\r\nVia: %b terraster\r\n"
        % (certificate, client_ip, client_ip, scheme, connection.listener.port, version)
    )
    return connection.fields


def _fields_from_trusted(exchange: Exchange, connection: Connection, head: RequestHead) -> bytes:
    """The same lines if a trusted peer reported the client: its report is kept, and the peer is added to the chain."""
    told = exchange.said
    chain = [told.chain] if told.chain is not None else []
    if connection.client_ip != "unix":
        chain.append(connection.client_ip.encode("ascii"))
    said = {kind for kind, _, _ in head.special or ()}
    lines = [b"X-Request-ID: " + exchange.request_id]
    if chain:
        lines.append(b"X-Forwarded-For: " + b", ".join(chain))
    if exchange.client_ip != "unix":
        lines.append(b"X-Real-IP: " + exchange.client_ip.encode("ascii"))
    if FORWARDED_PROTO not in said:
        lines.append(b"X-Forwarded-Proto: " + exchange.scheme.encode("ascii"))
    if FORWARDED_PORT not in said and connection.listener.port:
        lines.append(b"X-Forwarded-Port: %d" % connection.listener.port)
    if FORWARDED_HOST not in said and (told.host or exchange.host):
        lines.append(b"X-Forwarded-Host: " + (told.host or exchange.host))
    lines.append(b"Via: 1.%d terraster\r\n" % head.minor if connection.session is None else b"Via: 2.0 terraster\r\n")
    certificate = b"" if connection.certificate is None else connection.certificate.fields
    return certificate + b"\r\n".join(lines)
