"""Tokens: which are accepted, until when, and what is said of the others."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jwt
import pytest

from terraster.policy.keys import read_public, single
from terraster.policy.tokens import Refused, Rules, claim, verify

from .harness.issuer import END, NOW, SECRET, encoded, jwk, jwks, pem, private, token, unsigned

KEYS = read_public(jwks("rsa", "ec", "ec384", "ed"))
HMAC = (single(SECRET),)
PLAIN = Rules(leeway=30.0)


def judged(octets: bytes, keys: Any = KEYS, rules: Rules = PLAIN, now: float = NOW) -> str:
    """ "ok", or the words of the refusal."""
    try:
        claims, _ = verify(octets, keys, rules, now)
    except Refused as refused:
        return refused.words
    assert claims["sub"] == "ada"
    return "ok"


ALGORITHM = "the token is signed with an algorithm that is not allowed"
UNKNOWN = "no key is known for the token"
MALFORMED = "the token is malformed"
WRONG = "the signature of the token is wrong"
EARLY = "the token is not valid yet"
EXPIRED = "the token has expired"


def altered(octets: bytes, part: int) -> bytes:
    """The token with another last octet but one in one of its parts."""
    parts = octets.split(b".")
    parts[part] = parts[part][:-4] + (b"AAAA" if parts[part][-4:] != b"AAAA" else b"BBBB")
    return b".".join(parts)


HEADER = {"alg": "RS256", "kid": "rsa"}
CASES = (
    (token("rsa"), "ok"),
    (token("rsa", "RS512"), "ok"),
    (token("rsa", "PS256"), "ok"),
    (token("ec"), "ok"),
    (token("ec384"), "ok"),
    (token("ed"), "ok"),
    (token("rsa", kid=None), "ok"),
    (token("ec", kid=None), "ok"),
    # the algorithm is the key's
    (unsigned({"alg": "none", "kid": "rsa"}), ALGORITHM),
    (unsigned({"alg": "none"}), UNKNOWN),
    (unsigned({"alg": "NonE", "kid": "rsa"}), ALGORITHM),
    (unsigned({"alg": "HS256", "kid": "rsa"}, secret=pem("rsa").encode()), ALGORITHM),
    (unsigned({"alg": "HS256"}, secret=pem("rsa").encode()), UNKNOWN),
    (unsigned({"alg": "HS256", "kid": "rsa"}, secret=b""), ALGORITHM),
    (token("ec", kid="rsa"), ALGORITHM),
    (token("rsa", kid="ec"), ALGORITHM),
    (unsigned({"kid": "rsa"}), ALGORITHM),
    (unsigned({"alg": ["RS256"], "kid": "rsa"}), ALGORITHM),
    # keys
    (token("rsa2"), UNKNOWN),
    (token("rsa2", kid="rsa"), WRONG),
    (token("rsa2", kid=None), WRONG),
    (token("rsa", headers={"kid": "../../etc/passwd"}), UNKNOWN),
    (unsigned({"alg": "RS256", "kid": 7}), UNKNOWN),
    (unsigned({"alg": "RS256", "kid": {"a": 1}}), UNKNOWN),
    (token("rsa2", headers={"jwk": jwk("rsa2")}), UNKNOWN),  # a key of the token's own is not looked at
    (token("rsa2", kid="rsa", headers={"jwk": jwk("rsa2"), "jku": "http://evil.test/"}), WRONG),
    # form
    (altered(token("rsa"), 1), WRONG),
    (altered(token("rsa"), 2), WRONG),
    (token("rsa") + b".x", MALFORMED),
    (token("rsa").rpartition(b".")[0], MALFORMED),
    (token("rsa").rpartition(b".")[0] + b".", WRONG),
    (b"", MALFORMED),
    (b"..", MALFORMED),
    (b"a.b.c", MALFORMED),
    (encoded(b"[]") + b".e30.", MALFORMED),
    (encoded(b"[" * 5000) + b".e30.", MALFORMED),
    (encoded(b'{"a":' * 1000) + b".e30.", MALFORMED),
    (b"\xff.\xff.\xff", MALFORMED),
    (token("rsa", headers={"crit": ["x"], "x": 1}), MALFORMED),
    (unsigned({**HEADER, "b64": False}), MALFORMED),
    (token("rsa", padding="x" * 8000), "the token is too long"),
    # time
    (token("rsa", exp=None), "the token has no end (`exp`)"),
    (token("rsa", exp=NOW - 31), EXPIRED),
    (token("rsa", exp=NOW - 30), EXPIRED),
    (token("rsa", exp=NOW - 29), "ok"),
    (token("rsa", nbf=NOW + 29), "ok"),
    (token("rsa", nbf=NOW + 31), EARLY),
    (token("rsa", iat=NOW + 31), EARLY),
    (token("rsa", iat=NOW - 1e6), "ok"),
)


@pytest.mark.parametrize(("octets", "outcome"), CASES, ids=range(len(CASES)))
def test_tokens(octets: bytes, outcome: str) -> None:
    assert judged(octets) == outcome


TOKEN = token("rsa")
LAST = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def of_length(rest: int, part: int) -> bytes:
    """A token one part of which has so many characters beyond whole fours."""
    pads = ("x" * number for number in range(9))
    tokens = (token("rsa", headers={"pad": pad}, pad=pad) for pad in pads)
    return next(one for one in tokens if len(one.split(b".")[part]) % 4 == rest)


def respelt(octets: bytes, part: int) -> bytes:
    """The token with bits set in its part's last character that belong to no octet."""
    parts = octets.split(b".")
    parts[part] = parts[part][:-1] + bytes([LAST[LAST.index(parts[part][-1]) + 1]])
    return b".".join(parts)


SPELLINGS = (
    *(TOKEN.replace(b".", mark, 1) for mark in (b" .", b". ", b"\t.", b".\n", b"=.", b"==.", b"!.", b".\x00", b"\xc3\xa9.")),
    *(TOKEN + mark for mark in (b" ", b"\n", b"=", b"==", b"!", b"\x00")),
    *(mark + TOKEN for mark in (b" ", b"\n", b"!", b"=")),
    TOKEN[:40] + b" " + TOKEN[40:],
    TOKEN[:40] + b"\r\n" + TOKEN[40:],
    respelt(TOKEN, 2),
    *(respelt(of_length(rest, part), part) for part in (0, 1) for rest in (2, 3)),
)


@pytest.mark.parametrize("octets", SPELLINGS, ids=range(len(SPELLINGS)))
def test_a_token_has_one_spelling(octets: bytes) -> None:
    assert judged(octets) == MALFORMED


def test_the_other_alphabet_of_base64_is_another_spelling() -> None:
    signed = next(one for one in (token("rsa", n=number) for number in range(99)) if b"-" in one)
    assert judged(signed) == "ok"
    assert judged(signed.replace(b"-", b"+").replace(b"_", b"/")) == MALFORMED


@pytest.mark.parametrize("value", [True, [], {}, "x", float("inf"), float("nan"), pytest.param(10**400, id="huge")])
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_a_time_is_a_number(name: str, value: Any) -> None:
    said = {"sub": "ada", "exp": END, name: value}
    octets = jwt.PyJWS().encode(json.dumps(said).encode(), private("rsa"), "RS256", headers={"kid": "rsa"}).encode()
    assert judged(octets) == MALFORMED


@pytest.mark.parametrize("payload", [b"[]", b"text", b"\xff", b"[" * 5000, b"1" * 5000])
def test_a_payload_is_an_object(payload: bytes) -> None:
    assert judged(jwt.PyJWS().encode(payload, private("rsa"), "RS256", headers={"kid": "rsa"}).encode()) == MALFORMED


ISSUER = Rules("https://issuer.test", ("shop", "till"))


@pytest.mark.parametrize(
    ("claims", "outcome"),
    [
        ({"iss": "https://issuer.test", "aud": "shop"}, "ok"),
        ({"iss": "https://issuer.test", "aud": ["other", "till"]}, "ok"),
        ({"iss": "https://issuer.test/", "aud": "shop"}, "the token is of another issuer"),
        ({"aud": "shop"}, "the token is of another issuer"),
        ({"iss": "https://issuer.test"}, "the token is for another audience"),
        ({"iss": "https://issuer.test", "aud": "sho"}, "the token is for another audience"),
        ({"iss": "https://issuer.test", "aud": []}, "the token is for another audience"),
        ({"iss": "https://issuer.test", "aud": [["shop"]]}, "the token is for another audience"),
    ],
)
def test_issuer_and_audience(claims: dict[str, Any], outcome: str) -> None:
    if claims.get("aud") == [["shop"]]:
        said = {"sub": "ada", "exp": END, **claims}
        octets = jwt.PyJWS().encode(json.dumps(said).encode(), private("rsa"), "RS256", headers={"kid": "rsa"}).encode()
    else:
        octets = token("rsa", **claims)
    assert judged(octets, rules=ISSUER) == outcome


def test_only_some_algorithms() -> None:
    rules = Rules(algorithms=("RS512", "HS256"))
    assert judged(token("rsa", "RS512"), rules=rules) == "ok"
    assert judged(token("rsa", "RS256"), rules=rules) == ALGORITHM
    assert judged(unsigned({"alg": "HS256", "kid": "rsa"}, secret=pem("rsa").encode()), rules=rules) == ALGORITHM


def test_a_secret() -> None:
    assert judged(unsigned({"alg": "HS256"}, secret=SECRET.encode()), HMAC) == "ok"
    assert judged(unsigned({"alg": "HS256", "kid": "any"}, secret=SECRET.encode()), HMAC) == "ok"
    assert judged(unsigned({"alg": "HS256"}, secret=b"another"), HMAC) == WRONG
    assert judged(token("rsa", kid=None), HMAC) == UNKNOWN


def test_until_when_a_token_is_accepted() -> None:
    assert verify(token("rsa"), KEYS, PLAIN, NOW)[1] == END + 30


def test_only_an_unknown_key_asks_for_newer_ones() -> None:
    asks = {}
    for octets in (token("rsa2"), token("rsa2", kid="rsa"), token("rsa", exp=NOW - 100), b"a.b.c"):
        with pytest.raises(Refused) as refused:
            verify(octets, KEYS, PLAIN, NOW)
        asks[refused.value.words] = refused.value.unknown_key
    assert asks == {UNKNOWN: True, WRONG: False, EXPIRED: False, MALFORMED: False}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_token_that_openssl_signed(tmp_path: Path) -> None:
    text = encoded(json.dumps(HEADER).encode()) + b"." + encoded(json.dumps({"sub": "ada", "exp": END}).encode())
    (tmp_path / "key").write_text(pem("rsa", secret=True))
    command = ["openssl", "dgst", "-sha256", "-sign", str(tmp_path / "key")]
    signature = subprocess.run(command, input=text, capture_output=True, check=True).stdout
    assert judged(text + b"." + encoded(signature)) == "ok"


@pytest.mark.parametrize(
    ("name", "value"),
    [("a", 1), ("b.c", 2), ("b", {"c": 3}), ("b.x", None), ("x", None), ("d.e.f", 4), ("d.e", {"f": 4}), ("a.b", None)],
)
def test_a_claim_by_its_name(name: str, value: Any) -> None:
    assert claim({"a": 1, "b.c": 2, "b": {"c": 3}, "d": {"e": {"f": 4}}}, name) == value
