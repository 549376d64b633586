"""Certificates, and the files for TLS towards a backend with their contents, as values of a Snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Certificate", "Credentials"]


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
