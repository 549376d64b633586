"""An issuer of tokens: keys of each kind, sets of them (JWKS), and tokens by PyJWT, or put together by hand to be wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

__all__ = ["END", "NOW", "SECRET", "encoded", "jwk", "jwks", "pem", "private", "token", "unsigned"]

NOW = 1_700_000_000.0
END = NOW + 600
SECRET = "a secret of thirty-two octets or more"


@cache
def private(kind: str) -> Any:
    """A private key: "rsa", "rsa2", "small", "ec", "ec384", "ed"."""
    match kind:
        case "ec":
            return ec.generate_private_key(ec.SECP256R1())
        case "ec384":
            return ec.generate_private_key(ec.SECP384R1())
        case "ed":
            return ed25519.Ed25519PrivateKey.generate()
        case "small":
            return rsa.generate_private_key(65537, 1024)
    return rsa.generate_private_key(65537, 2048)


def pem(kind: str, secret: bool = False) -> str:
    key = private(kind)
    if secret:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwk(kind: str, **more: Any) -> dict[str, Any]:
    """A public key as an entry of a set, with ``kid`` = kind."""
    key = private(kind).public_key()
    of = RSAAlgorithm if kind in ("rsa", "rsa2", "small") else OKPAlgorithm if kind == "ed" else ECAlgorithm
    return {**json.loads(of.to_jwk(key)), "kid": kind, **more}


def jwks(*entries: Any) -> bytes:
    return json.dumps({"keys": [jwk(one) if isinstance(one, str) else one for one in entries]}).encode()


_ALGORITHM = {"rsa": "RS256", "rsa2": "RS256", "small": "RS256", "ec": "ES256", "ec384": "ES384", "ed": "EdDSA"}


def token(
    kind: str = "ec", algorithm: str = "", kid: str | None = "", headers: dict[str, Any] | None = None, **claims: Any
) -> bytes:
    """A token by PyJWT, for "ada", that ends at END unless claims say more; a claim of None is left out. kid: "" = the kind."""
    said = {"sub": "ada", "exp": END, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    head = {**({} if kid is None else {"kid": kid or kind}), **(headers or {})}
    return jwt.encode(said, private(kind), algorithm or _ALGORITHM[kind], headers=head).encode()


def encoded(octets: bytes) -> bytes:
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


def unsigned(header: Any, claims: Any = None, secret: bytes | None = None) -> bytes:
    """A token with any header and payload (octets go as they are), signed with HMAC-SHA256 if there is a secret."""
    parts = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in (header, claims or {"sub": "ada", "exp": END})]
    text = b".".join(map(encoded, parts))
    mark = b"" if secret is None else hmac.new(secret, text, hashlib.sha256).digest()
    return text + b"." + encoded(mark)
