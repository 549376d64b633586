"""The library that reads certificates, imported once there is one to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from terraster.later import Later

if TYPE_CHECKING:
    from cryptography import exceptions, x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
    from cryptography.x509 import ocsp, oid
else:
    exceptions = Later("cryptography.exceptions")
    x509 = Later("cryptography.x509")
    hashes = Later("cryptography.hazmat.primitives.hashes")
    serialization = Later("cryptography.hazmat.primitives.serialization")
    ec = Later("cryptography.hazmat.primitives.asymmetric.ec")
    ed448 = Later("cryptography.hazmat.primitives.asymmetric.ed448")
    ed25519 = Later("cryptography.hazmat.primitives.asymmetric.ed25519")
    padding = Later("cryptography.hazmat.primitives.asymmetric.padding")
    rsa = Later("cryptography.hazmat.primitives.asymmetric.rsa")
    ocsp = Later("cryptography.x509.ocsp")
    oid = Later("cryptography.x509.oid")

__all__ = ["ec", "ed448", "ed25519", "exceptions", "hashes", "ocsp", "oid", "padding", "rsa", "serialization", "x509"]
