"""A certificate with its private key: read from PEM octets, and checked before a client could see it.

A wrong key, a file that is half written or a chain in the wrong order must not replace a certificate that works. So everything that an
engine would refuse at a handshake is refused here, with words for the operator.
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import TYPE_CHECKING

from terraster.config.snapshot import Certificate
from terraster.errors import TerrasterError

from .library import ec, ed448, ed25519, exceptions, rsa, serialization, x509

__all__ = ["CertificateError", "common_name", "read_certificate", "subject_alternative_names"]

_LEAST_RSA = 2048  # bits: the security level 2 of OpenSSL wants 112 bits of security

_BEGIN = b"-----BEGIN CERTIFICATE-----"


class CertificateError(TerrasterError):
    """Files of certificates and keys that cannot be used. The text says why. file: the one that is at fault, "" if it is not known"""

    def __init__(self, text: str, file: str = "") -> None:
        super().__init__(text)
        self.file = file


def read_certificate(file: str, chain: bytes, key: bytes, key_file: str = "") -> Certificate:
    """The certificate in PEM octets. Raises `CertificateError`.

    file: the name to show. chain: the server's certificate, followed by those of the authorities that lead to its root. key: its private
    key, without a password. key_file: the name of its file, for errors
    """
    certificates = _certificates(chain)
    try:
        private = _private_key(key)
    except CertificateError as error:
        raise CertificateError(str(error), key_file) from error
    wanted = _shape(private)
    first = certificates[0]
    if _shape_of(first) != wanted:
        if any(_shape_of(one) == wanted for one in certificates[1:]):
            raise CertificateError("the server's certificate must be the first one of the file")
        raise CertificateError("the key does not belong to the certificate")
    for before, after in zip(certificates, certificates[1:], strict=False):
        if before.issuer != after.subject:
            issued = f"{common_name(before.issuer)} issued {common_name(before.subject)}"
            raise CertificateError(f"the chain is out of order: {issued}, but {common_name(after.subject)} follows")
    names = subject_alternative_names(first)
    curve = private.curve.name if isinstance(private, ec.EllipticCurvePrivateKey) else ""
    return Certificate(
        file=file,
        chain=chain,
        key=key,
        names=names,
        kind="RSA"
        if isinstance(private, rsa.RSAPrivateKey)
        else "ECDSA"
        if isinstance(private, ec.EllipticCurvePrivateKey)
        else "EdDSA",
        issuer=common_name(first.issuer),
        not_before=first.not_valid_before_utc.timestamp(),
        not_after=first.not_valid_after_utc.timestamp(),
        fingerprint=hashlib.sha256(first.public_bytes(serialization.Encoding.DER)).hexdigest(),
        curve=curve,
        must_staple=_must_staple(first),
    )


def _certificates(chain: bytes) -> list[x509.Certificate]:
    if _BEGIN not in chain:
        raise CertificateError("the file has no certificate in PEM form" if chain.strip() else "the file is empty")
    try:
        found = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        raise CertificateError("the certificate is not complete, or is damaged") from error
    rest = chain.rpartition(b"-----END CERTIFICATE-----")[2]
    if any(_begins(line.strip()) for line in rest.splitlines()):  # the library passes over a last block that is cut off
        raise CertificateError("the last certificate of the chain is not complete, or is damaged")
    return found


def _begins(line: bytes) -> bool:
    """True if a line is the first one of a certificate, or a part of it. A key may follow the certificates."""
    return line.startswith(_BEGIN) or (line.startswith(b"-") and _BEGIN.startswith(line))


if TYPE_CHECKING:
    Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


def _private_key(key: bytes) -> Private:
    try:
        private = serialization.load_pem_private_key(key, None)
    except TypeError as error:
        raise CertificateError("the key needs a password, so nobody could start Terraster unattended: remove it") from error
    except (ValueError, exceptions.UnsupportedAlgorithm) as error:
        raise CertificateError(
            "the key file has no complete private key in PEM form" if key.strip() else "the key file is empty"
        ) from error
    if isinstance(private, rsa.RSAPrivateKey):
        if private.key_size < _LEAST_RSA:
            raise CertificateError(f"an RSA key of {private.key_size} bits is too short: {_LEAST_RSA} are needed")
    elif not isinstance(private, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        raise CertificateError(f"a key of kind {type(private).__name__.removesuffix('PrivateKey')} cannot be used for TLS")
    return private


def _shape(private: Private) -> bytes:
    return private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _shape_of(certificate: x509.Certificate) -> bytes:
    try:
        return certificate.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, exceptions.UnsupportedAlgorithm):
        return b""  # of a kind that no key of ours has


def subject_alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The names in subjectAltName, which is all that clients look at (RFC 9110, section 4.3.4)."""
    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    except ValueError as error:
        raise CertificateError("the extensions of the certificate are damaged") from error
    names = [name.lower().rstrip(".") for name in listed.get_values_for_type(x509.DNSName)]
    addresses = listed.get_values_for_type(x509.IPAddress)
    names += [str(one) for one in addresses if isinstance(one, ipaddress.IPv4Address | ipaddress.IPv6Address)]
    return tuple(dict.fromkeys(names))


def _must_staple(certificate: x509.Certificate) -> bool:
    """True if clients want an OCSP response with it (RFC 7633)."""
    try:
        wanted = certificate.extensions.get_extension_for_class(x509.TLSFeature).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return x509.TLSFeatureType.status_request in wanted


def common_name(name: x509.Name) -> str:
    """A name in a word or two, for operators: its CN, else its O, else all of it as RFC 4514 writes it."""
    for kind in (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME):
        for one in name.get_attributes_for_oid(kind):
            return str(one.value)
    return name.rfc4514_string()
