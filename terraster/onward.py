"""The head that goes on to a backend: the client's, with what we say about the client, what rules say, and the path that is asked for."""

from __future__ import annotations

from .balance.contract import Member
from .exchange import Exchange
from .net.downstream import Downstream
from .plan import LocationPlan
from .wire.http1 import RequestHead
from .wire.names import FORWARDED_HOST, FORWARDED_PORT, FORWARDED_PROTO, UPGRADE

__all__ = ["request_octets"]

_UPGRADE = frozenset((UPGRADE,))
_HOST = frozenset((b"host",))


def request_octets(exchange: Exchange, client: Downstream, head: RequestHead, location: LocationPlan, member: Member) -> bytes:
    """The head to send to a backend."""
    if client.trusted:
        keep = location.keep_trusted
        extra = _fields_from_trusted(exchange, client, head)
    else:
        keep = location.keep
        fields = client.fields or _fields_about(client)
        if exchange.host:
            extra = b"%bX-Forwarded-Host: %b\r\nX-Request-ID: %b\r\n" % (fields, exchange.host, exchange.request_id)
        else:
            extra = b"%bX-Request-ID: %b\r\n" % (fields, exchange.request_id)
        if not head.minor:
            extra = extra.replace(b"Via: 1.1 ", b"Via: 1.0 ", 1)
    drop = location.request_drop
    edits = location.request_edits
    if edits is not None:
        if location.overrides:  # a rule has the last word on the fields that are ours, too
            extra = _without(extra, location.overrides)
        extra += edits.render(exchange)
    if head.upgrade is not None:
        extra += b"Connection: Upgrade\r\n"
        keep = keep | _UPGRADE
    path = exchange.path
    if not location.plain and path != b"*":
        path = location.forward_path(path, member)
    if exchange.query or head.target[-1] == 63:  # "?": an empty query is not the same as none
        path = b"%b?%b" % (path, exchange.query)
    if (exchange.host != head.host or not head.host) and b"host" not in drop:
        # RFC 9112, section 3.2.2: the authority of an absolute target replaces Host. HTTP/1.0 may have named no host at all.
        extra = b"Host: %b\r\n%b" % (exchange.host or member.backend.authority.encode("ascii"), extra)
        drop = drop | _HOST
    return head.forward(path, keep, drop, extra)


def _fields_about(client: Downstream) -> bytes:
    """The field lines that say who the client is, the same for all requests of a connection."""
    if client.client_ip == "unix":  # there is no address, and none is made up
        client.fields = b"X-Forwarded-Proto: %b\r\nVia: 1.1 terraster\r\n" % client.scheme.encode("ascii")
        return client.fields
    client_ip = client.client_ip.encode("ascii")
    client.fields = (
        b"X-Forwarded-For: %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %d\r\nVia: 1.1 terraster\r\n"
        % (
            client_ip,
            client_ip,
            client.scheme.encode("ascii"),
            client.listener.port,
        )
    )
    return client.fields


def _fields_from_trusted(exchange: Exchange, client: Downstream, head: RequestHead) -> bytes:
    """The same lines where a trusted peer spoke for the client: its word is kept, and the peer is added to the chain."""
    told = exchange.said
    chain = [told.chain] if told.chain is not None else []
    if client.client_ip != "unix":
        chain.append(client.client_ip.encode("ascii"))
    said = {kind for kind, _, _ in head.special or ()}
    lines = [b"X-Request-ID: " + exchange.request_id]
    if chain:
        lines.append(b"X-Forwarded-For: " + b", ".join(chain))
    if exchange.client_ip != "unix":
        lines.append(b"X-Real-IP: " + exchange.client_ip.encode("ascii"))
    if FORWARDED_PROTO not in said:
        lines.append(b"X-Forwarded-Proto: " + exchange.scheme.encode("ascii"))
    if FORWARDED_PORT not in said and client.listener.port:
        lines.append(b"X-Forwarded-Port: %d" % client.listener.port)
    if FORWARDED_HOST not in said and (told.host or exchange.host):
        lines.append(b"X-Forwarded-Host: " + (told.host or exchange.host))
    lines.append(b"Via: 1.%d terraster\r\n" % head.minor)
    return b"\r\n".join(lines)


def _without(lines: bytes, names: frozenset[bytes]) -> bytes:
    """Field lines but those of these names (lower case)."""
    return b"".join(line for line in lines.splitlines(keepends=True) if line.partition(b":")[0].lower() not in names)
