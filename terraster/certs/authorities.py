"""The authorities that a file names (`ca_file`), read from PEM and checked before a connection depends on them."""

from __future__ import annotations

from .certificate import CertificateError
from .files import Files, read_octets
from .library import serialization, x509

__all__ = ["read_authorities"]


def read_authorities(files: Files) -> bytes:
    """The certificates of one file, in DER, one behind the other: what the engine takes (`ssl.SSLContext.load_verify_locations`). Text
    between them is skipped. Raises `CertificateError`, which names the file."""
    (file,) = files
    octets = read_octets(file)
    begun = octets.count(b"-----BEGIN CERTIFICATE-----")
    if not begun:
        raise CertificateError(f"{file} has no certificate in PEM form" if octets.strip() else f"{file} is empty", file)
    try:
        found = x509.load_pem_x509_certificates(octets)
    except ValueError as error:
        raise CertificateError(f"{file}: a certificate is not complete, or is damaged", file) from error
    if len(found) != begun:
        raise CertificateError(f"{file}: a certificate is not complete, or is damaged", file)
    return b"".join(dict.fromkeys(one.public_bytes(serialization.Encoding.DER) for one in found))
