"""Locate: listener, Host and path → the location of a request."""

from __future__ import annotations

from terraster.config.client_auth import unread
from terraster.config.snapshot import Tls
from terraster.errors import BadRequest
from terraster.exchange import Exchange
from terraster.location_plan import LocationPlan
from terraster.net.connection import Connection
from terraster.plan import ServicePlan
from terraster.route.host import split_host
from terraster.route.target import canonical, split_absolute
from terraster.wire.heads import RequestHead

__all__ = ["locate"]


def locate(exchange: Exchange) -> LocationPlan:
    """Find the location, and take the client's address from a trusted peer. Raises `BadRequest` (400, 404, 413, 421, 501)."""
    plan = exchange.plan
    head: RequestHead = exchange.head
    connection: Connection = exchange.connection
    target = head.target
    host = head.host
    if head.method == b"CONNECT":
        raise BadRequest("CONNECT is not served here", status=501)
    if not head.max_forwards and head.method == b"TRACE":
        raise BadRequest("TRACE is not answered here", status=501)
    if target[0] != 47:  # "/"
        target, host = _unusual_target(head)
    exchange.host = host
    if connection.routed is plan and connection.host == host:  # a kept connection usually asks for the same host again
        service = connection.service
    else:
        if connection.routed is not plan and (connection.named is not None or not connection.listener.proxy_protocol):
            connection.trusted = plan.trust.trusts(connection.client_ip)
        service = plan.router.find(connection.listener.address, split_host(host)[0] if host else b"")
        last = connection.listener.last_plan
        if service is None and last is not None:
            exchange.plan = plan = last
            service = plan.router.find(connection.listener.address, split_host(host)[0] if host else b"")
        if connection.listener.tls and connection.scheme == "http":
            raise BadRequest("plain HTTP on a port for TLS")
        if service is None:
            raise BadRequest("no service of this name here", status=421, reason="destination_not_found")
        given, wanted = connection.tls, service.tls
        if given is not None and wanted is not None and given is not wanted and given.admission() != wanted.admission():
            if not _is_renewed(wanted, given):
                raise BadRequest(
                    "the handshake was for a service with other TLS settings", status=421, reason="destination_not_found"
                )
            head.keep_alive = False  # the authorities of clients changed: this answer is the last one without a new handshake
        connection.routed, connection.host, connection.service = plan, host, service
    exchange.service = service
    if connection.trusted:
        _believe(exchange, connection, head)
    location: LocationPlan | None
    if target == b"*":
        exchange.path = target
        location = service.prefixes.find(b"/") if service.forks is None else service.forks.find(exchange, b"/")
    else:
        exchange.path, exchange.query = canonical(target, service.refuse_encoded_slashes, service.merge_slashes)
        location = service.everything or service.prefixes.find(exchange.path)
        if not service.is_simple:
            location = _carefully(exchange, service, location)
    if location is None:
        location = service.fallback
    if location is None:
        raise BadRequest("no location for this path", status=404, reason="destination_not_found", close=False)
    exchange.location = location
    limit = location.body_size
    if limit and head.content_length > limit:
        raise BadRequest("body larger than the limit", status=413)
    return location


def _carefully(exchange: Exchange, service: ServicePlan, location: LocationPlan | None) -> LocationPlan | None:
    """The location of a path that does not tell it by itself: locations have conditions, or differ in their access filters. location: by the
    path alone. Raises `BadRequest` (400) for a spelling that could lead round an access filter."""
    path = exchange.path
    if service.forks is not None:
        location = service.forks.find(exchange, path)
        spellings = service.forked_spellings
        leads_round = spellings is not None and location is not None and spellings.leads_round(exchange, path, location)
    else:
        leads_round = service.spellings is not None and location is not None and service.spellings.leads_round(path, location)
    if leads_round:
        raise BadRequest("a spelling of the path that could lead round an access filter")
    return location


def _is_renewed(tls: Tls, before: Tls) -> bool:
    """True if settings differ from those before at most in the content of files."""
    if (tls.min_version, tls.ciphers) != (before.min_version, before.ciphers):
        return False
    return unread(tls.client_auth) == unread(before.client_auth)


def _unusual_target(head: RequestHead) -> tuple[bytes, bytes]:
    """(target, host) of a request whose target is not a path: RFC 9112, sections 3.2.2 to 3.2.4."""
    if head.target == b"*":
        if head.method != b"OPTIONS":
            raise BadRequest("asterisk target with a method other than OPTIONS")
        return head.target, head.host
    authority, target = split_absolute(head.target)
    if head.host:
        split_host(head.host)  # the target's authority replaces it, but it must be a host
    if head.method == b"OPTIONS" and target == b"/" and head.target[-1] != 47:
        target = b"*"  # RFC 9112, section 3.2.4: a URL without a path asks for the server as a whole
    return target, authority


def _believe(exchange: Exchange, connection: Connection, head: RequestHead) -> None:
    """Take the client's address, scheme and host from a trusted peer."""
    exchange.said = said = exchange.plan.trust.believe(connection.client_ip, connection.scheme, head.special or ())
    exchange.client_ip, exchange.scheme = said.client_ip, said.scheme
    if said.request_id is not None:
        exchange.request_id = said.request_id
