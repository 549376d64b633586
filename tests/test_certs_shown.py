"""What is said of a certificate for which a backend is refused, and what is advised, in each of the ways in which that happens."""

from __future__ import annotations

import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from terraster.certs.shown import described

from .harness.authority import Authority

CA = Authority()
NOW = time.time()
HALF = "the backend's certificate comes from an unknown authority, or with half a chain"
UNKNOWN = "the backend's certificate comes from an unknown authority"


def der(*pems: bytes) -> list[bytes]:
    return [x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER) for pem in pems]


SITE, OLD, EARLY = CA.issue("a.test", "b.test"), CA.issue("a.test", days=-1, begun=9), CA.issue("a.test", begun=-1)
BARE, CHAIN = der(SITE.alone), der(SITE.alone, SITE.issuer)


@pytest.mark.parametrize(
    "chain, refusal, ca_file, advice",
    [
        (CHAIN, UNKNOWN, "/ca.pem", "verified against /ca.pem: add the certificate of Test Root to /ca.pem"),
        (CHAIN, UNKNOWN, "", "the system's authorities: name a file with the certificate of Test Root as `ca_file`"),
        (
            BARE,
            HALF,
            "/ca.pem",
            "add the certificate of Test Authority to /ca.pem, or, if that is an intermediate one, let the backend",
        ),
        (der(CA.root), "the backend's certificate is self-signed, and not trusted", "/ca.pem", "put this certificate into /ca.pem"),
        (der(CA.root), "the backend's certificate is self-signed, and not trusted", "", "with this certificate as `ca_file`"),
        (der(OLD.alone), "the backend's certificate has expired", "", ": renew it at the backend: now is 20"),
        (CHAIN, "the backend's certificate has expired", "", "another one of the chain has expired (sent: Test Authority)"),
        (der(EARLY.alone), "the backend's certificate is not valid yet", "", ": look at the clocks: here it is 20"),
        (
            BARE,
            "the backend's certificate is not for this server name (`sni`, else …",
            "",
            "c.test is not among its names: set `sni`",
        ),
        (BARE, "the backend's certificate is not valid: unsuitable purpose", "/ca.pem", "it is verified against /ca.pem"),
    ],
)
def test_the_certificate_and_what_to_do(chain: list[bytes], refusal: str, ca_file: str, advice: str) -> None:
    words = described(chain, refusal, "c.test", ca_file, NOW)
    assert advice in words
    assert words.endswith("/ca.pem") or "verified against" in words.partition(": ")[0]


def test_the_facts() -> None:
    words = described(BARE, UNKNOWN, "a.test", "", NOW)
    end = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(SITE.leaf.not_valid_after_utc.timestamp()))
    assert words.startswith("it shows the certificate of a.test, issued by Test Authority, for a.test, b.test, valid from 20")
    assert f"to {end};" in words
    assert "issued by itself, for no names" in described(der(CA.root), UNKNOWN, "a.test", "", NOW)


def test_names_are_bounded_and_printable() -> None:
    many = CA.issue("evil\n\x1b[31m" + "x" * 50, *(f"{number}.test" for number in range(400)))
    words = described(der(many.alone), UNKNOWN, "a.test", "", NOW)
    assert words.isprintable() and len(words) < 800
    assert " and 396 more, valid" in words


def test_what_is_no_certificate_is_an_error() -> None:
    with pytest.raises(ValueError):
        described([b"\x30\x03abc"], UNKNOWN, "a.test", "", NOW)
