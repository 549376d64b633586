"""The kinds of challenges as the library for ACME knows them, and the one that it has left out: tls-alpn-01 (RFC 8737)."""

from __future__ import annotations

import datetime
import hashlib
from typing import Any

from acme import challenges
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from josepy.jwk import JWK

__all__ = ["KINDS", "alpn_certificate"]

_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # RFC 8737, section 6.1


@challenges.ChallengeResponse.register
class _TlsAlpnResponse(challenges.KeyAuthorizationChallengeResponse):
    typ = "tls-alpn-01"


@challenges.Challenge.register
class _TlsAlpn(challenges.KeyAuthorizationChallenge):
    """RFC 8737. The library has left it out."""

    response_cls = _TlsAlpnResponse
    typ = _TlsAlpnResponse.typ

    def validation(self, account_key: JWK, **unused: Any) -> bytes:
        """The digest that the certificate has to carry."""
        return hashlib.sha256(self.key_authorization(account_key).encode()).digest()


KINDS: dict[str, type[challenges.KeyAuthorizationChallenge]] = {
    "http-01": challenges.HTTP01,
    "tls-alpn-01": _TlsAlpn,
    "dns-01": challenges.DNS01,
}


def alpn_certificate(name: str, digest: bytes) -> str:
    """The certificate that a handshake for ``acme-tls/1`` shows, and its key (RFC 8737, section 3)."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tls-alpn-01")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .add_extension(x509.UnrecognizedExtension(_ACME_IDENTIFIER, b"\x04\x20" + digest), True)  # an OCTET STRING of 32
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (made.public_bytes(Encoding.PEM) + private).decode()
