"""Keys of tokens: which are taken, and for which algorithms."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from terraster.policy.keys import read_public, read_secret_too, single

from .harness.authority import Authority
from .harness.issuer import SECRET, jwk, jwks, pem, private

RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


def oct_key(size: int) -> dict[str, Any]:
    return {"kty": "oct", "k": base64.urlsafe_b64encode(b"x" * size).decode().rstrip("="), "kid": "o"}


@pytest.mark.parametrize(
    ("entry", "algorithms"),
    [
        (jwk("rsa"), RSA),
        (jwk("ec"), {"ES256"}),
        (jwk("ec384"), {"ES384"}),
        (jwk("ed"), {"EdDSA"}),
        (jwk("rsa", alg="RS384"), {"RS384"}),
        (jwk("rsa", use="sig", key_ops=["verify"]), RSA),
        ({**jwk("rsa"), "d": "AQAB", "p": "AQAB"}, RSA),  # a private key: only its public part is read
        # These are left out.
        (jwk("rsa", use="enc"), None),
        (jwk("rsa", key_ops=["sign"]), None),
        (jwk("rsa", key_ops="verify"), None),
        (jwk("rsa", alg="HS256"), None),
        (jwk("rsa", alg="none"), None),
        (jwk("rsa", alg=7), None),
        (jwk("ec", alg="ES384"), None),
        (jwk("rsa", kid=7), None),
        (jwk("small"), None),
        (oct_key(64), None),
        ({"kty": "PQC", "kid": "a"}, None),
        ({"kty": ["RSA"]}, None),
        ({**jwk("rsa"), "n": "%%%"}, None),
        ({**jwk("rsa"), "n": 7}, None),
        ({**jwk("ec"), "crv": "P-9"}, None),
        ({**jwk("ec"), "x": jwk("ec")["y"]}, None),
        ("text", None),
        (None, None),
    ],
)
def test_a_key_of_a_set_that_was_fetched(entry: Any, algorithms: set[str] | None) -> None:
    keys = read_public(json.dumps({"keys": [entry, jwk("rsa2")]}).encode())
    assert [key.algorithms for key in keys if key.kid != "rsa2"] == ([] if algorithms is None else [algorithms])


SETS = (
    (b"", "is not JSON"),
    (b"<html>", "is not JSON"),
    (b"\xff\xfe", "is not JSON"),
    (b"[" * 100_000, "is not JSON"),
    (b"[]", "is not a set of keys: it has no list `keys`"),
    (b"{}", "is not a set of keys: it has no list `keys`"),
    (b'{"keys": {}}', "is not a set of keys: it has no list `keys`"),
    (b'{"keys": []}', "has no key that can verify a signature"),
    (jwks(jwk("rsa", use="enc")), "has no key that can verify a signature"),
    (jwks(*["ec"] * 101), "has more than 100 keys"),
)


@pytest.mark.parametrize(("octets", "problem"), SETS, ids=range(len(SETS)))
def test_sets_that_cannot_be_used(octets: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match="^" + problem.replace("(", r"\(")):
        read_public(octets)


@pytest.mark.parametrize(
    ("size", "algorithms"), [(31, None), (32, {"HS256"}), (48, {"HS256", "HS384"}), (64, {"HS256", "HS384", "HS512"})]
)
def test_a_secret_in_a_file_of_ours(size: int, algorithms: set[str] | None) -> None:
    (key, *_) = read_secret_too(jwks(oct_key(size), "rsa"))
    assert (key.kid, key.algorithms) == (("o", algorithms) if algorithms else ("rsa", RSA))


def test_single_keys() -> None:
    assert single(pem("rsa")).algorithms == RSA
    assert single(pem("ec")).algorithms == {"ES256"}
    assert single(SECRET).algorithms == {"HS256"}
    certificate = Authority().issue("issuer.test")
    assert single(certificate.chain.decode()).algorithms in (RSA, {"ES256"})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("short", "has fewer than 32 octets, which is too short for a secret"),
        (pem("rsa", secret=True), "is a private key; the public one is needed"),
        (pem("small"), "is an RSA key of 1024 bits; 2048 are needed"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "is neither a public key nor a certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "is neither a public key nor a certificate in PEM"),
    ],
    ids=range(5),
)
def test_single_keys_that_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as error:
        single(text)
    assert str(error.value) == problem
    assert private("rsa")
