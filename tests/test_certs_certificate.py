"""Pairs of certificate and key: what is read of them, and each reason for which one is not taken."""

from __future__ import annotations

import time
from typing import Any

import pytest

from terraster.certs.certificate import CertificateError, read_certificate

from .harness.authority import Authority

CA = Authority()


def test_the_facts_of_a_certificate() -> None:
    issued = CA.issue("A.Test", "*.b.test", "192.0.2.1", days=10)
    found = read_certificate("/etc/site.pem", issued.chain, issued.key)
    assert (found.file, found.names, found.kind) == ("/etc/site.pem", ("a.test", "*.b.test", "192.0.2.1"), "ECDSA")
    assert found.issuer == "Test Authority"
    assert found.not_before < time.time() < found.not_after < time.time() + 10 * 86400 + 60
    assert len(found.fingerprint) == 64
    assert b"PRIVATE" not in repr(found).encode() and "BEGIN" not in repr(found)


@pytest.mark.parametrize("kind,name", [("ec", "ECDSA"), ("rsa", "RSA"), ("ed25519", "EdDSA")])
def test_kinds_of_keys(kind: str, name: str) -> None:
    issued = CA.issue("a.test", kind=kind)
    assert read_certificate("x", issued.chain, issued.key).kind == name


def test_a_certificate_without_its_authority_is_taken() -> None:
    issued = CA.issue("a.test")
    assert read_certificate("x", issued.alone, issued.key).names == ("a.test",)


def test_text_around_the_certificate_is_no_fault() -> None:
    issued = CA.issue("a.test")
    assert read_certificate("x", b"subject=CN = a.test\n\n" + issued.chain + b"\n\n", issued.key).names == ("a.test",)


def test_certificates_and_key_in_one_file() -> None:
    issued = CA.issue("a.test")
    for both in (issued.chain + issued.key, issued.key + issued.chain, issued.alone + issued.key + issued.issuer):
        assert read_certificate("x", both, both).names == ("a.test",)


ONE, OTHER, WEAK = CA.issue("a.test"), CA.issue("b.test"), CA.issue("a.test", kind="rsa1024")

BAD = {
    "an empty file": (b"", ONE.key, "the file is empty"),
    "no certificate": (ONE.key, ONE.key, "no certificate in PEM form"),
    "half a certificate": (ONE.alone[:400], ONE.key, "not complete, or is damaged"),
    "a certificate and half of its authority": (ONE.chain[: len(ONE.alone) + 300], ONE.key, "not complete, or is damaged"),
    "damaged octets": (ONE.alone.replace(b"MII", b"AAA", 1), ONE.key, "not complete, or is damaged"),
    "an empty key file": (ONE.chain, b"\n", "the key file is empty"),
    "a certificate as the key": (ONE.chain, ONE.chain, "no complete private key"),
    "half a key": (ONE.chain, ONE.key[:120], "no complete private key"),
    "another key": (ONE.chain, OTHER.key, "does not belong"),
    "a key with a password": (ONE.chain, ONE.locked_key, "password"),
    "the authority first": (ONE.issuer + ONE.alone, ONE.key, "must be the first"),
    "a stranger in the chain": (ONE.alone + OTHER.alone, ONE.key, "Test Authority issued a.test, but b.test follows"),
    "a short RSA key": (WEAK.chain, WEAK.key, "1024 bits is too short"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_not_taken(case: Any) -> None:
    chain, key, words = case
    with pytest.raises(CertificateError, match=words):
        read_certificate("x", chain, key)


def test_every_half_written_pair_is_noticed() -> None:
    issued = CA.issue("a.test")
    for cut in range(0, len(issued.chain.rstrip()), 37):
        if issued.chain[:cut].rstrip() == issued.alone.rstrip():
            continue
        with pytest.raises(CertificateError):
            read_certificate("x", issued.chain[:cut], issued.key)
    for cut in range(0, len(issued.key.rstrip()), 37):
        with pytest.raises(CertificateError):
            read_certificate("x", issued.chain, issued.key[:cut])
