"""An authority for tests: a root, an intermediate, and the certificates that they issue."""

from __future__ import annotations

import datetime
import ipaddress
import subprocess
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import ocsp as x509_ocsp

__all__ = ["Authority", "Issued"]

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class Issued:
    """A certificate with its key. chain: PEM, with the intermediate; alone: without it; der: the same in DER; key: PEM."""

    def __init__(self, leaf: x509.Certificate, issuer: x509.Certificate, key: Key) -> None:
        pem = serialization.Encoding.PEM
        self.leaf = leaf
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
        self,
        *names: str,
        kind: str = "ec",
        days: float = 30,
        begun: float = 1,
        serial: int | None = None,
        purpose: str = "",
        ocsp: str = "",
        must_staple: bool = False,
    ) -> Issued:
        """A certificate. kind: "ec", "rsa", "rsa1024" or "ed25519". days: from now to its end; begun: days since its begin. purpose: "client",
        "server", "ocsp" or "" for all. ocsp: URL of the responder. must_staple: clients want an OCSP response"""
        key = _key(kind)
        name = names[0] if names else "nameless"
        leaf = _certificate(
            name, serial, key, self._issuer, self._key, names, days, begun, purpose=purpose, ocsp=ocsp, must_staple=must_staple
        )
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

    def ocsp(
        self,
        about: Issued,
        *,
        revoked: bool = False,
        unknown: bool = False,
        begun: float = 3600.0,
        lasts: float | None = 86400.0,
        signer: Issued | None = None,
        embedded: bool = True,
        algorithm: hashes.HashAlgorithm | None = None,
    ) -> bytes:
        """An OCSP response in DER.

        begun: seconds since thisUpdate; lasts: seconds to nextUpdate, None: it has none. signer: who signs instead of the authority;
        embedded: the response has the signer's certificate. algorithm: of the hashes that name the certificate"""
        now = datetime.datetime.now(datetime.UTC)
        state = x509_ocsp.OCSPCertStatus
        builder = x509_ocsp.OCSPResponseBuilder().add_response(
            cert=about.leaf,
            issuer=self._issuer,
            algorithm=algorithm or hashes.SHA1(),
            cert_status=state.REVOKED if revoked else state.UNKNOWN if unknown else state.GOOD,
            this_update=now - datetime.timedelta(seconds=begun),
            next_update=None if lasts is None else now + datetime.timedelta(seconds=lasts),
            revocation_time=now - datetime.timedelta(days=1) if revoked else None,
            revocation_reason=None,
        )
        by = self._issuer if signer is None else signer.leaf
        encoding = x509_ocsp.OCSPResponderEncoding.HASH if signer is None else x509_ocsp.OCSPResponderEncoding.NAME
        builder = builder.responder_id(encoding, by)
        if signer is not None and embedded:
            builder = builder.certificates([signer.leaf])
        key: Any = self._key if signer is None else serialization.load_pem_private_key(signer.key, None)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def ocsp_of_all(self, folder: Path, *about: Issued) -> bytes:
        """One OCSP response in DER about several certificates, as the program of OpenSSL makes it, with files in a folder."""
        end = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30)).strftime("%y%m%d%H%M%SZ")
        numbers = [f"{one.serial:X}" for one in about]
        lines = [f"V\t{end}\t\t{number.zfill(len(number) + len(number) % 2)}\tunknown\t/CN={number}\n" for number in numbers]
        (folder / "index").write_text("".join(lines))
        pem, form, none = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (folder / "ca.pem").write_bytes(self.issuer)
        (folder / "ca.key").write_bytes(self._key.private_bytes(pem, form, none))
        asks = ["-issuer", "ca.pem"]
        for number, one in enumerate(about):
            (folder / f"{number}.pem").write_bytes(one.alone)
            asks += ["-cert", f"{number}.pem"]
        signs = ["-index", "index", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key", "-ndays", "1"]
        answers = [*signs, "-reqin", "all.req", "-respout", "all.ocsp"]
        for words in ([*asks, "-no_nonce", "-reqout", "all.req"], answers):
            subprocess.run(["openssl", "ocsp", *words], cwd=folder, check=True, capture_output=True, timeout=20)
        return (folder / "all.ocsp").read_bytes()

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
    ocsp: str = "",
    must_staple: bool = False,
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
        usages = {
            "client": x509.ExtendedKeyUsageOID.CLIENT_AUTH,
            "server": x509.ExtendedKeyUsageOID.SERVER_AUTH,
            "ocsp": x509.ExtendedKeyUsageOID.OCSP_SIGNING,
        }
        builder = builder.add_extension(x509.ExtendedKeyUsage([usages[purpose]]), critical=False)
    if ocsp:
        place = x509.UniformResourceIdentifier(ocsp)
        described = x509.AccessDescription(x509.AuthorityInformationAccessOID.OCSP, place)
        builder = builder.add_extension(x509.AuthorityInformationAccess([described]), critical=False)
    if must_staple:
        builder = builder.add_extension(x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False)
    if names:
        alternative = x509.SubjectAlternativeName([_general(name) for name in names])
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
