"""OCSP responses for our own certificates: which ones clients may get."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from terraster.certs.certificate import CertificateError, read_certificate
from terraster.certs.ocsp import Early, OcspError, Revoked, named_serials, question, read_response, serial_of, verify
from terraster.config.snapshot import Certificate

from .harness.authority import Authority, Issued

CA, STRANGER = Authority(), Authority("Stranger")
SITE, OTHER = CA.issue("a.test", ocsp="http://ocsp.test/x"), CA.issue("b.test")
SIGNER, IDLER = CA.issue("signer", purpose="ocsp"), CA.issue("idler", purpose="server")
NOW = time.time()


def read(issued: Issued, chain: bytes = b"") -> Certificate:
    return read_certificate("a.pem", chain or issued.chain, issued.key)


CERTIFICATE = read(SITE)
GOOD = CA.ocsp(SITE)


@pytest.mark.parametrize(
    "response",
    [
        GOOD,
        CA.ocsp(SITE, algorithm=hashes.SHA256()),
        CA.ocsp(SITE, signer=SIGNER),
        CA.ocsp(SITE, begun=-100),
    ],
    ids=["authority", "sha256", "delegate", "clock-ahead"],
)
def test_a_response_that_clients_accept(response: bytes) -> None:
    found = verify(CERTIFICATE, response, NOW)
    assert (found.fingerprint, found.response) == (CERTIFICATE.fingerprint, response)
    assert found.this_update < found.next_update
    assert abs(found.next_update - NOW - 86400) < 3600


def changed(response: bytes) -> bytes:
    """The response with another end of its signature."""
    return response[:-1] + bytes([response[-1] ^ 1])


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (CA.ocsp(OTHER), f"for the serial number {OTHER.serial:X}; the certificate has {SITE.serial:X}"),
        (STRANGER.ocsp(SITE), "not signed by the certificate's authority"),
        (CA.ocsp(SITE, signer=STRANGER.issue("signer", purpose="ocsp")), "authority did not issue"),
        (CA.ocsp(SITE, signer=IDLER), "not for OCSP"),
        (CA.ocsp(SITE, signer=CA.issue("any")), "not for OCSP"),
        (CA.ocsp(SITE, signer=CA.issue("old", purpose="ocsp", begun=9, days=-1)), "has expired"),
        (CA.ocsp(SITE, signer=SIGNER, embedded=False), "not signed by the certificate's authority"),
        (changed(GOOD), "the signature of the response is wrong"),
        (CA.ocsp(SITE, lasts=-10), "the response expired at"),
        (CA.ocsp(SITE, lasts=None), "nextUpdate"),
        (CA.ocsp(SITE, begun=-4000), "not valid before"),
        (CA.ocsp(SITE, unknown=True), "status unknown"),
        (CA.ocsp(SITE, revoked=True), "revoked the certificate at"),
        (b"", "empty"),
        (b"<html>not found</html>", "no OCSP response"),
        (GOOD[:100], "damaged"),
        (b"-----BEGIN OCSP RESPONSE-----", "PEM form"),
        (bytes(70000), "larger than 64 KiB"),
        (
            ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER),
            "answers try_later",
        ),
    ],
    ids=[
        "other",
        "stranger",
        "foreign",
        "idle",
        "any",
        "old",
        "absent",
        "changed",
        "expired",
        "endless",
        "early",
        "unknown",
        "revoked",
        "empty",
        "html",
        "cut",
        "pem",
        "large",
        "later",
    ],
)
def test_a_response_that_clients_never_get(response: bytes, why: str) -> None:
    with pytest.raises(OcspError) as raised:
        verify(CERTIFICATE, response, NOW)
    assert why in str(raised.value)


@pytest.mark.parametrize("response", [GOOD, CA.ocsp(SITE, signer=SIGNER)], ids=["authority", "delegate"])
def test_a_damaged_octet_is_refused_in_words(response: bytes) -> None:
    """Nothing else is raised, whatever octet is wrong: a file must not keep a configuration from being run."""
    for at in range(len(response)):
        for octet in (6, 255):
            damaged = response[:at] + bytes([octet]) + response[at + 1 :]
            for act in (lambda octets: verify(CERTIFICATE, octets, NOW), named_serials):
                with suppress(OcspError):
                    act(damaged)


def test_a_response_for_the_serial_number_of_another_authority() -> None:
    """It is signed by our authority, but names a certificate of another one."""
    twin = STRANGER.issue("a.test", serial=SITE.serial)
    named = STRANGER.ocsp(twin, signer=SIGNER)
    with pytest.raises(OcspError, match="another authority with the same serial"):
        verify(CERTIFICATE, named, NOW)


def test_a_response_that_is_valid_later_says_when() -> None:
    with pytest.raises(Early) as raised:
        verify(CERTIFICATE, CA.ocsp(SITE, begun=-4000), NOW)
    assert abs(raised.value.begin - time.time() - 3700) < 3600


def test_a_revocation_has_the_time_of_its_response() -> None:
    with pytest.raises(Revoked) as raised:
        verify(CERTIFICATE, CA.ocsp(SITE, revoked=True), NOW)
    assert abs(raised.value.end - time.time() - 86400) < 3600 and raised.value.begin < NOW


def test_without_the_authority_nothing_can_be_verified() -> None:
    alone = read(SITE, SITE.alone)
    for act in (lambda: verify(alone, GOOD, NOW), lambda: question(alone)):
        with pytest.raises(OcspError, match="lacks the certificate of the authority"):
            act()


def test_the_question_names_the_certificate_and_goes_to_its_responder() -> None:
    asked = question(CERTIFICATE)
    assert asked.url == "http://ocsp.test/x"
    request = ocsp.load_der_ocsp_request(asked.request)
    assert (request.serial_number, request.hash_algorithm.name) == (SITE.serial, "sha1")
    assert request.issuer_key_hash == ocsp.load_der_ocsp_response(GOOD).issuer_key_hash
    assert len(list(request.extensions)) == 0


@pytest.mark.parametrize("url", ["", "https://ocsp.test/"])
def test_a_certificate_without_a_responder_that_can_be_asked(url: str) -> None:
    with pytest.raises(OcspError, match="names no OCSP responder"):
        question(read(CA.issue("a.test", ocsp=url)))


def test_a_file_is_read_and_what_is_wrong_with_it_is_told_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "a.ocsp"
    file.write_bytes(GOOD)
    assert read_response((str(file),)) == GOOD
    file.write_bytes(GOOD[:50])
    with pytest.raises(CertificateError, match="a.ocsp: this is no OCSP response"):
        read_response((str(file),))


@pytest.mark.needs("openssl")
def test_a_response_about_several_certificates(tmp_path: Path) -> None:
    response = CA.ocsp_of_all(tmp_path, OTHER, SITE)
    assert serial_of(CERTIFICATE) == SITE.serial
    assert named_serials(response) == [OTHER.serial, SITE.serial]
    assert verify(CERTIFICATE, response, time.time()).response == response


def test_a_certificate_that_wants_a_response() -> None:
    assert not CERTIFICATE.must_staple
    assert read(CA.issue("a.test", must_staple=True)).must_staple
    assert x509.load_der_x509_certificate(SITE.der).serial_number == SITE.serial
