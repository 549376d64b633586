"""Values with ``${…}``: text in which facts of a request are filled in.

The names are those of `terraster.config.header_rules`, which also checks them. A fact that a request does not have is empty: it came in
clear, no backend was asked, the client sent no such field. A fact is filled in without CR, LF and NUL, so it cannot end a field line,
whatever was checked before.
"""

from __future__ import annotations

from collections.abc import Callable

from ..config import header_rules
from ..exchange import Exchange
from ..wire.edits import ENDS

__all__ = ["Template"]

Fact = Callable[[Exchange, int, bytes], bytes]
"""A fact of a request; given the status of the response, 0 before there is one, and the rest of the name."""


class Template:
    """A value, compiled. constant: its octets if they are always the same, else None."""

    __slots__ = ("_parts", "constant")

    def __init__(self, value: str) -> None:
        """ValueError for control characters and unknown variables."""
        parts: list[bytes | tuple[Fact, bytes]] = []
        for at, part in enumerate(header_rules.value_parts(value)):
            if at % 2:
                parts.append(_fact(part))
            elif part:
                parts.append(part.encode("utf-8"))
        self._parts = tuple(parts)
        self.constant: bytes | None = None
        if not parts:
            self.constant = b""
        elif len(parts) == 1 and isinstance(parts[0], bytes):
            self.constant = parts[0]

    def render(self, exchange: Exchange, status: int = 0) -> bytes:
        """The value for a request. status: of the response that it is for, 0: it is for a backend."""
        if self.constant is not None:
            return self.constant
        out = b""
        for part in self._parts:
            if isinstance(part, bytes):
                out += part
            else:
                fact, rest = part
                out += fact(exchange, status, rest).translate(None, ENDS)
        return out


def _remote_addr(exchange: Exchange, status: int, rest: bytes) -> bytes:
    return exchange.client_ip.encode("ascii", "replace")


def _host(exchange: Exchange, status: int, rest: bytes) -> bytes:
    return exchange.host


def _uri(exchange: Exchange, status: int, rest: bytes) -> bytes:
    return b"%b?%b" % (exchange.path, exchange.query) if exchange.query else exchange.path


def _method(exchange: Exchange, status: int, rest: bytes) -> bytes:
    return exchange.method


def _scheme(exchange: Exchange, status: int, rest: bytes) -> bytes:
    return exchange.scheme.encode("ascii")


def _request_id(exchange: Exchange, status: int, rest: bytes) -> bytes:
    return exchange.request_id


def _service(exchange: Exchange, status: int, rest: bytes) -> bytes:
    return b"" if exchange.service is None else exchange.service.name.encode("utf-8")


def _location(exchange: Exchange, status: int, rest: bytes) -> bytes:
    location = exchange.location
    if location is None or location is exchange.service.fallback:
        return b""
    label: str = location.label
    return label.encode("utf-8")


def _backend(exchange: Exchange, status: int, rest: bytes) -> bytes:
    return b"" if exchange.backend is None else exchange.backend.backend.label.encode("utf-8")


def _status(exchange: Exchange, status: int, rest: bytes) -> bytes:
    return b"%d" % status if status else b""


def _split(exchange: Exchange, status: int, rest: bytes) -> bytes:
    """The arm that has the request."""
    return b"" if exchange.location is None else exchange.location.arm.encode("ascii")


def _user(exchange: Exchange, status: int, rest: bytes) -> bytes:
    return exchange.user.encode("utf-8", "replace")


def _tls_version(exchange: Exchange, status: int, rest: bytes) -> bytes:
    return b"" if exchange.handshake is None else exchange.handshake.version.encode("ascii")


def _tls_cipher(exchange: Exchange, status: int, rest: bytes) -> bytes:
    return b"" if exchange.handshake is None else exchange.handshake.cipher.encode("ascii")


def _sni(exchange: Exchange, status: int, rest: bytes) -> bytes:
    return b"" if exchange.handshake is None else exchange.handshake.server_name.encode("utf-8")


def _client_cert(exchange: Exchange, status: int, rest: bytes) -> bytes:
    certificate = exchange.connection.certificate
    return b"" if certificate is None else certificate.fact(rest.decode("ascii")).encode("utf-8")


def _header(exchange: Exchange, status: int, rest: bytes) -> bytes:
    """A field as the client sent it; several of one name are one list (RFC 9110, section 5.3)."""
    if exchange.head is None:
        return b""
    values = [value for name, value in exchange.head.fields if name.lower() == rest]
    return (b"; " if rest == b"cookie" else b", ").join(values)


_FACTS: dict[str, Fact] = {
    "remote_addr": _remote_addr,
    "host": _host,
    "uri": _uri,
    "method": _method,
    "scheme": _scheme,
    "request_id": _request_id,
    "service": _service,
    "location": _location,
    "backend": _backend,
    "status": _status,
    "user": _user,
    "split": _split,
    "tls_version": _tls_version,
    "tls_cipher": _tls_cipher,
    "sni": _sni,
}


def _fact(name: str) -> tuple[Fact, bytes]:
    if name.startswith(header_rules.HEADER):
        return _header, name.removeprefix(header_rules.HEADER).lower().encode("ascii")
    if name.startswith(_CLIENT_CERT):
        return _client_cert, name.removeprefix(_CLIENT_CERT).encode("ascii")
    return _FACTS[name], b""


_CLIENT_CERT = "client_cert_"
