"""The certificate of a client, as it is reported to the backend (RFC 9440), and its facts for header rules."""

from __future__ import annotations

import binascii
import hashlib
import ssl
import time
from _ssl import ENCODING_DER
from typing import Any

__all__ = ["ClientCertificate", "client_certificate", "distinguished_name"]

_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}
"""Short names of attributes: RFC 4514, section 3."""

_ESCAPED = frozenset('"+,;<>\\')


class ClientCertificate:
    """A certificate that the handshake of a connection has verified.

    fields: the lines `Client-Cert` and `Client-Cert-Chain` for a backend, each with its CRLF
    """

    __slots__ = ("fields", "_der", "_engine", "_facts")

    def __init__(self, engine: ssl.SSLObject, der: bytes, chain: list[bytes]) -> None:
        """der: the certificate. chain: its authorities, without the root"""
        self.fields = b"Client-Cert: %b\r\n" % _item(der)
        if chain:
            self.fields += b"Client-Cert-Chain: %b\r\n" % b", ".join([_item(one) for one in chain])
        self._engine = engine
        self._der = der
        self._facts: dict[str, Any] | None = None

    @property
    def not_after(self) -> float:
        """Its end, seconds since 1970."""
        return float(ssl.cert_time_to_seconds(self._read()["notAfter"]))

    def fact(self, name: str) -> str:
        """The value of ``${client_cert_NAME}``: `terraster.config.header_rules.CLIENT_CERT`."""
        facts = self._read()
        match name:
            case "subject" | "issuer":
                return distinguished_name(facts[name])
            case "serial":
                return str(facts["serialNumber"])
            case "fingerprint":
                return hashlib.sha256(self._der).hexdigest()
            case "not_before":
                return _moment(facts["notBefore"])
        return _moment(facts["notAfter"])

    def _read(self) -> dict[str, Any]:
        if self._facts is None:
            self._facts = self._engine.getpeercert() or {}
        return self._facts


def client_certificate(engine: ssl.SSLObject) -> ClientCertificate | None:
    """The certificate that a client has authenticated with in a handshake that is over; None without one."""
    der = engine.getpeercert(True)
    if der is None:
        return None
    # Public from Python 3.13 on. A session that is resumed has no chain: its tickets keep only the certificate.
    chain = engine._sslobj.get_verified_chain() or ()  # type: ignore[attr-defined]
    return ClientCertificate(engine, der, [one.public_bytes(ENCODING_DER) for one in chain[1:-1]])


def _item(der: bytes) -> bytes:
    """A byte sequence of a structured field: RFC 8941, section 3.3.5."""
    return b":%b:" % binascii.b2a_base64(der, newline=False)


def _moment(text: str) -> str:
    """RFC 3339; "" for a moment that `ssl` cannot tell, as one in the year 1."""
    try:
        seconds = ssl.cert_time_to_seconds(text)
    except ValueError:
        return ""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def distinguished_name(name: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """A name as RFC 4514 writes it: the last part first."""
    return ",".join(["+".join([f"{_SHORT.get(kind, kind)}={_value(value)}" for kind, value in part]) for part in reversed(name)])


def _value(value: str) -> str:
    """RFC 4514, section 2.4. Control characters are escaped too, because a field cannot have them."""
    out = []
    last = len(value) - 1
    for at, letter in enumerate(value):
        if letter in _ESCAPED or (letter == " " and at in (0, last)) or (letter == "#" and not at):
            out.append("\\" + letter)
        elif ord(letter) < 32 or ord(letter) == 127:
            out.append(f"\\{ord(letter):02X}")
        else:
            out.append(letter)
    return "".join(out)
