"""Secure: the TLS handshake of a client.

The ClientHello is read first. The server name in it chooses the service, and the service's settings are those of the engine from its
first octet on (`terraster.wire.client_hello`).
"""

from __future__ import annotations

from terraster.certs.challenges import ALPN
from terraster.certs.client_certificate import client_certificate
from terraster.errors import ClientGone, HttpError
from terraster.net.connection import Connection
from terraster.net.handshake import Handshake, HandshakeFailed
from terraster.net.tls import TlsStream
from terraster.plan import ServicePlan
from terraster.wire.client_hello import ClientHello, HelloError, HelloReader, alert

from . import prove
from .data_plane import DataPlane
from .receive import more

__all__ = ["secure"]

_UNRECOGNIZED_NAME = 112  # RFC 6066, section 3
_NO_APPLICATION_PROTOCOL = 120  # RFC 7301, section 3.2
_ALERTED = ("version", "no_common_parameters", "certificate", "protocol")  # failures for which the engine sends an alert


def secure(plane: DataPlane, connection: Connection) -> None:
    """Do the handshake, within the time for a head. Raises `HttpError` if the connection cannot go on.

    A client that speaks plain HTTP stays unsecured. Its request is refused with an answer that it can read (`terraster.phases.locate`).
    """
    reader = HelloReader()
    plane.handshakes.begin(connection, plane.plan.limits.connections)
    try:
        handshake = _handshake(plane, connection, reader)
    except HttpError as error:
        if isinstance(error, HandshakeFailed) and error.result in _ALERTED:
            connection.lingering = True  # more may be under way (with TLS 1.3 a request), and a reset would overtake the alert
        if (
            reader.received or isinstance(error, HandshakeFailed) or not isinstance(error, ClientGone)
        ):  # else it was a connection without a handshake: a port check, say
            plane.handshakes.failed(connection, error)
        raise
    finally:
        plane.handshakes.end(connection)
    if handshake is None:
        return
    connection.handshake = handshake
    plane.handshakes.succeeded(connection, handshake)
    if isinstance(handshake, prove.Proof):
        connection.lingering = True
        raise ClientGone("an authority has its proof")


def _handshake(plane: DataPlane, connection: Connection, reader: HelloReader) -> Handshake | None:
    """None: the client speaks plain HTTP. Raises `HttpError`."""
    timeout = plane.plan.timeouts.client_header
    end = plane.clock() + timeout if timeout else 0.0
    data, connection.held = connection.held, b""
    try:
        while (hello := reader.feed(data)) is None:
            data = more(plane, connection, end, bool(reader.received))
    except HelloError as error:
        if not error.plain:
            raise _refused(plane, connection, error.code, str(error), "protocol") from error
        connection.held = bytes(reader.received)
        plane.handshakes.failed(connection, HandshakeFailed("plain HTTP", "plain_http"))
        return None
    if hello.alpn == (ALPN,) and plane.challenges.active:
        proof = prove.shake(plane, connection, hello, reader.received, end)
        if proof is not None:
            return proof
    service = _service(plane, connection, hello)
    if service is None or service.tls is None:
        raise _refused(
            plane, connection, _UNRECOGNIZED_NAME, f"no service for the server name {hello.server_name!r}", "unrecognized_name"
        )
    if not service.tls.certificates:
        why = f"service {service.name} has no certificate yet"
        raise _refused(plane, connection, _UNRECOGNIZED_NAME, why, "unrecognized_name")
    if hello.alpn and service.protocols.isdisjoint(hello.alpn):
        raise _refused(plane, connection, _NO_APPLICATION_PROTOCOL, "no application protocol in common", "no_application_protocol")
    only = None
    if service.tls.staples:
        only = plane.contexts.stapled(service.name, service.tls, hello.server_name, reader.message)
    context, keys = plane.contexts.find(service.name, service.tls, hello.server_name, only)
    stream = TlsStream(connection.plain, context)
    connection.secure(stream, service.tls)
    if only is not None:
        plane.contexts.staple(service.name, only, stream.engine, plane.clock() + plane.wall)
    stream.accept(reader.received, end, keys, hello.tickets)
    if service.tls.client_auth is not None:
        _authenticate(plane, connection, stream)
    handshake = Handshake.of(stream.inner, hello.server_name)
    if handshake.alpn == "h2":
        connection.http2 = service.http2
    return handshake


def _authenticate(plane: DataPlane, connection: Connection, stream: TlsStream) -> None:
    """Take the certificate that the engine has verified. It does so only in a full handshake, so that the certificate of a resumed session
    may have expired since."""
    connection.certificate = certificate = client_certificate(stream.engine)
    if certificate is not None and stream.engine.session_reused and certificate.not_after <= plane.clock() + plane.wall:
        raise HandshakeFailed("the client's certificate has expired since its session began", "certificate")


def _service(plane: DataPlane, connection: Connection, hello: ClientHello) -> ServicePlan | None:
    """The service that a client's server name stands for. Without a name, and for one that nobody has, it is the listener's default."""
    plan, listener = connection.listener.last_plan or plane.plan, connection.listener
    found = plan.router.find(listener.address, hello.server_name.encode("ascii")) if hello.server_name else None
    return found or plan.tls_default(listener.address, bool(hello.server_name))


def _refused(plane: DataPlane, connection: Connection, code: int, detail: str, result: str) -> HandshakeFailed:
    """Send an alert. Returns the error to raise."""
    if code:
        connection.send(alert(code), plane.plan.timeouts.client_header)
        connection.lingering = True
    return HandshakeFailed(detail, result)
