"""Keys that verify the signatures of tokens: sets of them (JWKS, RFC 7517), and single ones in PEM or as a secret.

A key says with which algorithms it may be used; a token never does. So a public key is not taken for the secret of an HMAC, and `none` is
no algorithm. A key of a set that cannot be used is left out (RFC 7517, section 5): a set may hold kinds of keys that are unknown here.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

__all__ = ["ALGORITHMS", "LEAST_SECRET", "Key", "read_public", "read_secret_too", "single"]

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_OF_CURVE = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_OF_SIZE = {256: "ES256", 384: "ES384", 521: "ES512"}
_HMAC = {"HS256": 32, "HS384": 48, "HS512": 64}
"""With the octets that their secrets need: as many as the hash has (RFC 7518, section 3.2)."""

ALGORITHMS = (*_RSA, *_OF_CURVE.values(), "EdDSA", *_HMAC)
"""All algorithms that are known here (RFC 7518, section 3; RFC 8037)."""

LEAST_SECRET = min(_HMAC.values())
"""Octets of a secret."""

_LEAST_RSA = 2048  # bits: RFC 7518, section 3.3
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----([^-]*)-----END \1-----")
_MOST = 100  # keys of a set

_PUBLIC = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x"), "oct": ("kty", "k")}
"""The members of a key that verifying needs. Other members, those of a private key included, are not read."""


class Key(NamedTuple):
    """kid: its name, "" = none. algorithms: those that it may be used with. key: as PyJWT takes it"""

    kid: str
    algorithms: frozenset[str]
    key: Any


def read_public(octets: bytes) -> tuple[Key, ...]:
    """The keys of a set that was fetched. ValueError if none can be used. A secret is not one of them: who can fetch it can sign."""
    return _read(octets, secrets=False)


def read_secret_too(octets: bytes) -> tuple[Key, ...]:
    """The keys of a set in a file of ours. ValueError if none can be used."""
    return _read(octets, secrets=True)


def single(text: str) -> Key:
    """A public key or a certificate in PEM, or else a secret. ValueError, which does not repeat it, if it cannot be used."""
    if "-----BEGIN " not in text:
        secret = text.encode()
        if len(secret) < LEAST_SECRET:
            raise ValueError(f"has fewer than {LEAST_SECRET} octets, which is too short for a secret")
        return Key("", _of_secret(secret), secret)
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    if "PRIVATE KEY-----" in text:
        raise ValueError("is a private key; the public one is needed")
    octets = _PEM.sub(_in_lines, text).encode()
    try:
        key: Any
        if "-----BEGIN CERTIFICATE-----" in text:
            key = load_pem_x509_certificate(octets).public_key()
        else:
            key = load_pem_public_key(octets)
    except ValueError as error:
        raise ValueError("is neither a public key nor a certificate in PEM") from error
    return Key("", _fitting(key), key)


def _in_lines(pem: re.Match[str]) -> str:
    """PEM that may have been written on one line."""
    inside = "\n".join(pem[2].split())
    return f"-----BEGIN {pem[1]}-----\n{inside}\n-----END {pem[1]}-----\n"


def _read(octets: bytes, secrets: bool) -> tuple[Key, ...]:
    try:
        document = json.loads(octets)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("is not a set of keys: it has no list `keys`")
    if len(entries) > _MOST:
        raise ValueError(f"has more than {_MOST} keys")
    found = tuple([key for entry in entries if (key := _key(entry, secrets)) is not None])
    if not found:
        raise ValueError("has no key that can verify a signature")
    return found


def _key(entry: Any, secrets: bool) -> Key | None:
    """A key of a set, None if it cannot be used."""
    if not isinstance(entry, dict):
        return None
    kind, use, operations = entry.get("kty"), entry.get("use", "sig"), entry.get("key_ops", ["verify"])
    if use != "sig" or not isinstance(operations, list) or "verify" not in operations or (kind == "oct" and not secrets):
        return None
    if not isinstance(kind, str) or kind not in _PUBLIC:
        return None
    members = _PUBLIC[kind]
    if not all(isinstance(entry.get(name), str) for name in members):
        return None
    kid, algorithm = entry.get("kid", ""), entry.get("alg")
    if not isinstance(kid, str):
        return None
    try:
        key = _loaded(kind, {name: entry[name] for name in members})
        algorithms = _of_secret(key) if kind == "oct" else _fitting(key)
    except (ValueError, TypeError):
        return None
    if algorithm is not None:
        algorithms &= {algorithm} if isinstance(algorithm, str) else frozenset()
    return Key(kid, algorithms, key) if algorithms else None


def _loaded(kind: str, members: dict[str, str]) -> Any:
    """The key of these members. ValueError if they are wrong."""
    import jwt.algorithms  # only here: it takes 0.1 s, and few configurations need it

    of_kind: dict[str, Any] = {
        "RSA": jwt.algorithms.RSAAlgorithm,
        "EC": jwt.algorithms.ECAlgorithm,
        "OKP": jwt.algorithms.OKPAlgorithm,
        "oct": jwt.algorithms.HMACAlgorithm,
    }
    try:
        return of_kind[kind].from_jwk(members)
    except jwt.exceptions.PyJWTError as error:
        raise ValueError(str(error)) from error


def _of_secret(secret: bytes) -> frozenset[str]:
    return frozenset([name for name, least in _HMAC.items() if len(secret) >= least])


def _fitting(key: Any) -> frozenset[str]:
    """The algorithms of a public key. ValueError if it cannot be used for any."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if isinstance(key, RSAPublicKey):
        if key.key_size < _LEAST_RSA:
            raise ValueError(f"is an RSA key of {key.key_size} bits; {_LEAST_RSA} are needed")
        return frozenset(_RSA)
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name.startswith("secp") and key.curve.name.endswith("r1"):
        return frozenset((_OF_SIZE.get(key.key_size, ""),)) - {""}
    if isinstance(key, Ed25519PublicKey | Ed448PublicKey):
        return frozenset(("EdDSA",))
    raise ValueError("is a kind of key that is not used for tokens")
