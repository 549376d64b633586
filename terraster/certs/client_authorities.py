"""The authorities whose certificates clients may use, and their lists of revoked ones (CRL): read from PEM octets, and checked.

OpenSSL refuses every client of an authority whose list is missing or has a wrong signature. So such files are refused here, before they
replace ones that work. A list that has expired is taken, because refusing it would leave an older one in use.
"""

from __future__ import annotations

import hashlib

from terraster.config.client_auth import Authorities

from .certificate import CertificateError
from .files import read_octets
from .library import exceptions, serialization, x509

__all__ = ["AuthorityFiles", "read_authorities", "read_authority_files"]

AuthorityFiles = tuple[str, ...]
"""`ca_file`, and `crl_file` if there is one."""

_LIST, _LIST_END = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"


def read_authority_files(files: AuthorityFiles) -> Authorities:
    """The authorities in these files. Raises `CertificateError`, which names the file that is at fault."""
    octets = [read_octets(file) for file in files]
    try:
        return read_authorities(octets[0], octets[1] if len(octets) > 1 else None, files[-1])
    except CertificateError as error:
        raise CertificateError(f"client certificates, {' with '.join(files)}: {error}", error.file or files[0]) from error


def read_authorities(certificates: bytes, lists: bytes | None, crl_file: str = "") -> Authorities:
    """The authorities in PEM octets. Raises `CertificateError`.

    lists: their lists of revoked certificates, None: none is revoked. crl_file: the name of their file, for errors
    """
    authorities = _authorities(certificates)
    revocations = []
    if lists is not None:
        try:
            revocations = _lists(lists)
            _check(authorities, revocations)
        except CertificateError as error:
            raise CertificateError(str(error), crl_file) from error
    ends: dict[bytes, tuple[float, float]] = {}
    for one in revocations:
        if one.next_update_utc is not None:
            span = one.last_update_utc.timestamp(), one.next_update_utc.timestamp()
            issuer = one.issuer.public_bytes()
            ends[issuer] = max(ends.get(issuer, span), span, key=_end)
    begun, until = min(ends.values(), key=_end) if ends else (0.0, 0.0)
    pem = b"".join(
        [one.public_bytes(serialization.Encoding.PEM) for one in authorities]
        + [one.public_bytes(serialization.Encoding.PEM) for one in revocations]
    )
    digest = hashlib.sha256(pem).hexdigest()
    return Authorities(pem=pem, revokes=lists is not None, crl_begun=begun, crl_until=until, digest=digest)


def _end(span: tuple[float, float]) -> float:
    return span[1]


def _authorities(octets: bytes) -> list[x509.Certificate]:
    if b"-----BEGIN CERTIFICATE-----" not in octets:
        raise CertificateError("the file has no certificate of an authority in PEM form" if octets.strip() else "the file is empty")
    try:
        found = x509.load_pem_x509_certificates(octets)
    except ValueError as error:
        raise CertificateError("a certificate of an authority is not complete, or is damaged") from error
    if octets.count(b"-----BEGIN CERTIFICATE-----") != len(found):  # the library passes over a last block that is cut off
        raise CertificateError("a certificate of an authority is not complete, or is damaged")
    for one in found:
        if not _may_issue(one):
            raise CertificateError(
                f"{_name(one.subject)} is not the certificate of an authority, so it cannot have issued those of clients"
            )
    return found


def _may_issue(certificate: x509.Certificate) -> bool:
    """True if it is a certificate of an authority: RFC 5280, section 4.2.1.9. Roots of X.509 version 1 have no extensions."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.version is x509.Version.v1 and certificate.issuer == certificate.subject
    except ValueError as error:
        raise CertificateError("the extensions of an authority's certificate are damaged") from error


def _lists(octets: bytes) -> list[x509.CertificateRevocationList]:
    if _LIST not in octets:
        if octets.startswith(b"\x30"):
            raise CertificateError("the CRL is in DER form: convert it with `openssl crl -inform DER`")
        raise CertificateError("the file has no CRL in PEM form" if octets.strip() else "the CRL file is empty")
    found = []
    for part in octets.split(_LIST)[1:]:
        text, end, _ = part.partition(_LIST_END)
        try:
            if not end:
                raise ValueError("cut off")
            found.append(x509.load_pem_x509_crl(_LIST + text + _LIST_END + b"\n"))
        except ValueError as error:
            raise CertificateError("a CRL is not complete, or is damaged") from error
    return found


def _check(authorities: list[x509.Certificate], lists: list[x509.CertificateRevocationList]) -> None:
    """Every authority up to the root needs its list: `ssl.VERIFY_CRL_CHECK_CHAIN`."""
    subjects = {one.subject.public_bytes() for one in authorities}
    for one in lists:
        signers = [authority for authority in authorities if authority.subject == one.issuer]
        if signers and not any(_signed(one, authority) for authority in signers):
            raise CertificateError(f"the CRL of {_name(one.issuer)} is signed by another authority of this name")
    issuers = {one.issuer.public_bytes() for one in lists}
    for authority in authorities:
        if authority.issuer.public_bytes() not in subjects:
            raise CertificateError(
                f"a CRL needs the authorities up to the root, but the one that issued {_name(authority.subject)} is not in ca_file"
            )
        if authority.subject.public_bytes() not in issuers:
            raise CertificateError(f"there is no CRL of {_name(authority.subject)}, so all of its clients would be refused")


def _signed(one: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    try:
        return one.is_signature_valid(authority.public_key())  # type: ignore[arg-type]  # a key of another kind is a TypeError
    except (TypeError, ValueError, exceptions.InvalidSignature, exceptions.UnsupportedAlgorithm):
        return False


def _name(name: x509.Name) -> str:
    return name.rfc4514_string()
