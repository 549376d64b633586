"""OCSP responses (RFC 6960) for our own certificates: what to ask a responder, and which answers clients may get.

A response that would not convince a client is worse than none, so everything that a client checks is checked here: the certificate that it
names, who signed it, its time, and what it says. Nothing is sent but "good".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from terraster.config.snapshot import Certificate, Staple
from terraster.errors import TerrasterError
from terraster.policy.stapling import SKEW, is_current

from .certificate import CertificateError
from .files import Files, read_octets
from .library import ec, ed448, ed25519, exceptions, hashes, ocsp, oid, padding, rsa, serialization, x509

__all__ = ["MOST", "Early", "OcspError", "Question", "Revoked", "named_serials", "question", "read_response", "serial_of", "verify"]

MOST = 65536
"""Octets of a response: with the responder's certificate they have some 2,000."""

_PEM = b"-----BEGIN"
_DAMAGED = "this is no OCSP response in DER form, or a damaged one"


class OcspError(TerrasterError):
    """A response that cannot be used, or a certificate that none can be asked for. The text says why."""


class Early(OcspError):
    """A response that is not valid yet. begin: time.time() from which on it is"""

    def __init__(self, message: str, begin: float) -> None:
        super().__init__(message)
        self.begin = begin


class Revoked(OcspError):
    """The authority has revoked the certificate. The response is valid in all other ways. begin, end: its time"""

    def __init__(self, message: str, begin: float, end: float) -> None:
        super().__init__(message)
        self.begin = begin
        self.end = end


@dataclass(frozen=True, slots=True)
class Question:
    """The question to a responder. url: of http; request: DER (RFC 5019, section 2.1: one certificate, SHA-1, no nonce)"""

    url: str
    request: bytes = field(repr=False)


def question(certificate: Certificate) -> Question:
    """The question to the responder that a certificate names. Raises `OcspError` if it names none, or if its issuer is not known."""
    leaf, issuer = _leaf_and_issuer(certificate)
    try:
        places = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, ValueError):
        places = x509.AuthorityInformationAccess([])
    urls = [
        one.access_location.value
        for one in places
        if one.access_method == oid.AuthorityInformationAccessOID.OCSP
        and isinstance(one.access_location, x509.UniformResourceIdentifier)
        and one.access_location.value.lower().startswith("http://")
    ]
    if not urls:
        raise OcspError("the certificate names no OCSP responder; many authorities have ended OCSP: remove `ocsp: fetch`")
    request = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1()).build()
    return Question(urls[0], request.public_bytes(serialization.Encoding.DER))


def read_response(files: Files) -> bytes:
    """The octets of a file with a response in DER. Raises `CertificateError`, which names the file."""
    (file,) = files
    octets = read_octets(file)
    try:
        _basic(octets)
    except OcspError as error:
        raise CertificateError(f"{file}: {error}") from error
    return octets


def named_serials(response: bytes) -> list[int]:
    """The serial numbers of the certificates that a response names. Raises `OcspError`."""
    try:
        return [one.serial_number for one in _basic(response).responses]
    except (ValueError, TypeError) as error:
        raise OcspError(_DAMAGED) from error


def serial_of(certificate: Certificate) -> int:
    """A certificate's serial number."""
    return x509.load_pem_x509_certificates(certificate.chain)[0].serial_number


def verify(certificate: Certificate, response: bytes, now: float) -> Staple:
    """The response, ready to be sent with the certificate. Raises `OcspError`: `Revoked` if that is what it says, `Early` if it is valid
    later.

    response: DER. now: time.time()
    """
    try:
        return _verified(certificate, response, now)
    except (
        ValueError,
        TypeError,
        exceptions.UnsupportedAlgorithm,
    ) as error:  # parts of a response are parsed when they are asked for
        raise OcspError(_DAMAGED) from error


def _verified(certificate: Certificate, response: bytes, now: float) -> Staple:
    leaf, issuer = _leaf_and_issuer(certificate)
    found = _basic(response)
    _check_signature(found, issuer, now)
    one = _about(found, leaf, issuer)
    begin, end = one.this_update_utc.timestamp(), one.next_update_utc.timestamp() if one.next_update_utc is not None else 0.0
    if not end:
        raise OcspError("the response does not say until when it is valid (nextUpdate)")
    if end <= now:
        raise OcspError(f"the response expired at {one.next_update_utc:%Y-%m-%d %H:%M:%S} UTC")
    if not is_current(begin, end, now):
        raise Early(f"the response is not valid before {one.this_update_utc:%Y-%m-%d %H:%M:%S} UTC", begin - SKEW)
    if one.certificate_status == ocsp.OCSPCertStatus.REVOKED:
        at = f"{one.revocation_time_utc:%Y-%m-%d %H:%M:%S} UTC"
        raise Revoked(f"the authority revoked the certificate at {at}", begin, end)
    if one.certificate_status != ocsp.OCSPCertStatus.GOOD:
        raise OcspError("the responder does not know the certificate (status unknown)")
    return Staple(certificate.fingerprint, response, begin, end)


def _basic(response: bytes) -> ocsp.OCSPResponse:
    """A successful response with at least one statement. Raises `OcspError`."""
    if not response:
        raise OcspError("the response is empty")
    if len(response) > MOST:
        raise OcspError(f"the response is larger than {MOST >> 10} KiB")
    if response.lstrip().startswith(_PEM):
        raise OcspError("the response is in PEM form; DER is needed")
    try:
        found = ocsp.load_der_ocsp_response(response)
        if found.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise OcspError(f"the responder answers {found.response_status.name.lower()}, not successful")
        if not [one.serial_number for one in found.responses]:
            raise OcspError("the response says nothing of any certificate")
    except (ValueError, TypeError) as error:
        raise OcspError(_DAMAGED) from error
    return found


def _leaf_and_issuer(certificate: Certificate) -> tuple[x509.Certificate, x509.Certificate]:
    """Raises `OcspError`."""
    leaf, *others = x509.load_pem_x509_certificates(certificate.chain)
    for one in others or [leaf]:
        if _issued(one, leaf):
            return leaf, one
    raise OcspError("the certificate's file lacks the certificate of the authority that issued it, so no response can be verified")


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, exceptions.InvalidSignature, exceptions.UnsupportedAlgorithm):
        return False
    return True


def _about(found: ocsp.OCSPResponse, leaf: x509.Certificate, issuer: x509.Certificate) -> ocsp.OCSPSingleResponse:
    """The statement of the response about a certificate. Raises `OcspError`."""
    others = []
    for one in found.responses:
        if one.serial_number != leaf.serial_number:
            others.append(one.serial_number)
            continue
        try:
            asked = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, one.hash_algorithm).build()
        except (ValueError, exceptions.UnsupportedAlgorithm):
            raise OcspError("the response names the certificate by a hash that cannot be used") from None
        if (one.issuer_name_hash, one.issuer_key_hash) == (asked.issuer_name_hash, asked.issuer_key_hash):
            return one
        raise OcspError("the response is for a certificate of another authority with the same serial number")
    listed = ", ".join(f"{serial:X}" for serial in others[:3])
    raise OcspError(f"the response is for the serial number {listed}; the certificate has {leaf.serial_number:X}")


def _check_signature(found: ocsp.OCSPResponse, issuer: x509.Certificate, now: float) -> None:
    """Refuse a response that neither the issuer has signed nor a responder with its permission (RFC 6960, section 4.2.2.2). Raises
    `OcspError`."""
    signers = [one for one in (issuer, *found.certificates) if _is_signer(found, one)]
    if not signers:
        raise OcspError(
            "the response is not signed by the certificate's authority, and has no certificate of the responder that signed it"
        )
    why = ""
    for signer in signers:
        why = "" if signer == issuer else _objection(signer, issuer, now)
        if not why:
            why = "" if _has_signed(signer, found) else "the signature of the response is wrong"
        if not why:
            return
    raise OcspError(why)


def _is_signer(found: ocsp.OCSPResponse, certificate: x509.Certificate) -> bool:
    if found.responder_name is not None:
        return found.responder_name == certificate.subject
    try:
        return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest == found.responder_key_hash
    except (ValueError, TypeError, exceptions.UnsupportedAlgorithm):
        return False


def _objection(signer: x509.Certificate, issuer: x509.Certificate, now: float) -> str:
    """Why a responder other than the issuer may not sign responses; "" if it may."""
    if not _issued(issuer, signer):
        return "the certificate's authority did not issue the certificate of the responder that signed the response"
    try:
        usages = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        usages = x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    if oid.ExtendedKeyUsageOID.OCSP_SIGNING not in usages:
        return "the certificate that signed the response is not for OCSP (no extended key usage OCSPSigning)"
    if not signer.not_valid_before_utc.timestamp() <= now < signer.not_valid_after_utc.timestamp():
        return "the certificate that signed the response has expired, or is not valid yet"
    return ""


def _has_signed(signer: x509.Certificate, found: ocsp.OCSPResponse) -> bool:
    try:
        key = signer.public_key()
        algorithm = found.signature_hash_algorithm
        if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(found.signature, found.tbs_response_bytes)
        elif algorithm is None or isinstance(algorithm, hashes.MD5):
            return False
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(found.signature, found.tbs_response_bytes, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(found.signature, found.tbs_response_bytes, ec.ECDSA(algorithm))
        else:
            return False
    except (exceptions.InvalidSignature, exceptions.UnsupportedAlgorithm, ValueError):
        return False
    return True
