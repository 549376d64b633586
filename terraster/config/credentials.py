"""Certificates, and the files for TLS towards a backend with their contents, as values of a Snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Certificate", "Credentials", "Staple"]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its private key, as the files had them when they were read and checked (`terraster.certs.certificate`)."""

    file: str
    chain: bytes = field(repr=False)  # PEM: the server's certificate, then those of its authorities
    key: bytes = field(repr=False)  # PEM
    names: tuple[str, ...]  # of subjectAltName, lower case: names, "*.example.com", and addresses
    kind: Literal["RSA", "ECDSA", "EdDSA"]
    issuer: str
    not_before: float  # time.time()
    not_after: float
    fingerprint: str  # SHA-256, hex
    curve: str = ""  # of an ECDSA key, the name of `cryptography`: "secp256r1"
    must_staple: bool = False  # clients refuse it without an OCSP response (RFC 7633)


@dataclass(frozen=True, slots=True)
class Staple:
    """An OCSP response that says of one certificate that it is good, verified (`terraster.certs.ocsp`)."""

    fingerprint: str  # of the certificate, as in `Certificate`
    response: bytes = field(repr=False)  # DER
    this_update: float  # time.time()
    next_update: float  # from then on it is not sent


@dataclass(frozen=True, slots=True)
class Credentials:
    """The files for TLS towards a backend, absolute names, and what they hold, which the master fills in."""

    ca_file: str = ""  # "" = the authorities of the system
    client_cert: str = ""  # "" = none
    client_key: str = ""
    authorities: bytes = field(default=b"", repr=False)  # certificates in DER, one behind the other
    certificate: Certificate | None = field(default=None, repr=False)

    def files(self) -> tuple[tuple[str, ...], ...]:
        """The files that are read together: `ca_file`, and `client_cert` with its key."""
        own = ((self.ca_file,),) if self.ca_file else ()
        return (*own, (self.client_cert, self.client_key)) if self.client_cert else own
