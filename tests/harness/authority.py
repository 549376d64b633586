"""An authority for tests: a root, an intermediate, and the certificates that they issue."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

__all__ = ["Authority", "Issued"]

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class Issued:
    """A certificate with its key. chain: PEM, with the intermediate; alone: without it; der: the same in DER; key: PEM."""

    def __init__(self, leaf: x509.Certificate, issuer: x509.Certificate, key: Key) -> None:
        pem = serialization.Encoding.PEM
        self.serial = leaf.serial_number
        self.alone = leaf.public_bytes(pem)
        self.der = leaf.public_bytes(serialization.Encoding.DER)
        self.issuer = issuer.public_bytes(pem)
        self.chain = self.alone + self.issuer
        form = serialization.PrivateFormat.PKCS8
        self.key = key.private_bytes(pem, form, serialization.NoEncryption())
        self.locked_key = key.private_bytes(pem, form, serialization.BestAvailableEncryption(b"secret"))

    def write(self, folder: Path, name: str = "site") -> tuple[Path, Path]:
        """The files of chain and key in a folder."""
        chain, key = folder / f"{name}.pem", folder / f"{name}.key"
        chain.write_bytes(self.chain)
        key.write_bytes(self.key)
        key.chmod(0o600)
        return chain, key


class Authority:
    """root: PEM of the root, which clients have to trust; issuer: PEM of the intermediate, which issues."""

    def __init__(self, name: str = "Test") -> None:
        self._root_key, self._key = _key("ec"), _key("ec")
        self._root = _certificate(f"{name} Root", None, self._root_key, None, self._root_key, (), 3650, ca=True)
        self._issuer = _certificate(f"{name} Authority", None, self._key, self._root, self._root_key, (), 3650, ca=True)
        self.root = self._root.public_bytes(serialization.Encoding.PEM)
        self.issuer = self._issuer.public_bytes(serialization.Encoding.PEM)

    def issue(
        self, *names: str, kind: str = "ec", days: float = 30, begun: float = 1, serial: int | None = None, purpose: str = ""
    ) -> Issued:
        """A certificate. kind: "ec", "rsa", "rsa1024" or "ed25519". days: from now to its end; begun: days since its begin. purpose: "client",
        "server" or "" for all"""
        key = _key(kind)
        name = names[0] if names else "nameless"
        leaf = _certificate(name, serial, key, self._issuer, self._key, names, days, begun, purpose=purpose)
        return Issued(leaf, self._issuer, key)

    def crl(self, *revoked: int, days: float = 7, begun: float = 1, of_root: bool = False) -> bytes:
        """A list of revoked certificates, in PEM. revoked: their serial numbers. days: from now to its end; begun: days since its begin"""
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name((self._root if of_root else self._issuer).subject)
            .last_update(now - datetime.timedelta(days=begun))
            .next_update(now + datetime.timedelta(days=days))
        )
        for serial in revoked:
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - datetime.timedelta(days=begun))
            builder = builder.add_revoked_certificate(one.build())
        signed = builder.sign(self._root_key if of_root else self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def crls(self, *revoked: int, days: float = 7, begun: float = 1) -> bytes:
        """The lists of root and intermediate. revoked: serial numbers of certificates that the intermediate issued"""
        return self.crl(days=days, begun=begun, of_root=True) + self.crl(*revoked, days=days, begun=begun)


def _key(kind: str) -> Key:
    match kind:
        case "ec":
            return ec.generate_private_key(ec.SECP256R1())
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "rsa1024":
            return rsa.generate_private_key(65537, 1024)
    return rsa.generate_private_key(65537, 2048)


def _certificate(
    name: str,
    serial: int | None,
    key: Key,
    issuer: x509.Certificate | None,
    issuer_key: Key,
    names: tuple[str, ...],
    days: float,
    begun: float = 1,
    ca: bool = False,
    purpose: str = "",
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=begun))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if purpose:
        usages = {"client": x509.ExtendedKeyUsageOID.CLIENT_AUTH, "server": x509.ExtendedKeyUsageOID.SERVER_AUTH}
        builder = builder.add_extension(x509.ExtendedKeyUsage([usages[purpose]]), critical=False)
    if names:
        alternative = x509.SubjectAlternativeName([_general(name) for name in names])
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
