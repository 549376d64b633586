"""Tokens of clients: signed JSON (JWT, RFC 7519; JWS, RFC 7515), judged as RFC 8725 advises.

Whatever the token says about itself is believed only after a key of ours has verified its signature. The algorithm must be one that this key
may be used with.
"""

from __future__ import annotations

import binascii
import json
import math
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from .keys import Key

__all__ = ["LONGEST", "Refused", "Rules", "claim", "verify"]

LONGEST = 8192
"""Octets of a token."""

_PART = r"(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?"
_FORM = re.compile(rf"{_PART}\.{_PART}\.{_PART}".encode("ascii"))
"""Three parts in base64url without padding, each in the one spelling that its octets have (RFC 7515, section 2; RFC 4648, section 3.5).
Libraries read many more, and a token with a blank in it is another text in a log or in a list of revoked tokens."""

_TRIED = 4  # keys that a token without a `kid` is tried with


class Refused(Exception):
    """A token that is not accepted. ``args[0]``: why, in words for the client. unknown_key: True if the keys may be too old to know it."""

    def __init__(self, words: str, unknown_key: bool = False) -> None:
        super().__init__(words)
        self.words = words
        self.unknown_key = unknown_key


class Rules:
    """The rules for tokens at one place. issuer, audience: "" and () = any. algorithms: () = all that the keys allow. leeway: seconds."""

    __slots__ = ("algorithms", "audience", "issuer", "leeway")

    def __init__(self, issuer: str = "", audience: Sequence[str] = (), algorithms: Sequence[str] = (), leeway: float = 0.0) -> None:
        self.issuer = issuer
        self.audience = frozenset(audience)
        self.algorithms = frozenset(algorithms)
        self.leeway = leeway


def verify(token: bytes, keys: Sequence[Key], rules: Rules, now: float) -> tuple[dict[str, Any], float]:
    """The claims of a token, and the time until which it is accepted. now: seconds since 1970. Raises `Refused`."""
    if len(token) > LONGEST:
        raise Refused("the token is too long")
    if not _FORM.fullmatch(token):
        raise Refused("the token is malformed")
    header = _header(token)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or (rules.algorithms and algorithm not in rules.algorithms):
        raise Refused("the token is signed with an algorithm that is not allowed")
    claims = _claims(_payload(token, _fitting(header, algorithm, keys), algorithm))
    return claims, _judged(claims, rules, now)


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by the names on the way to it, joined by dots. None if there is none."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    return found


def _header(token: bytes) -> dict[str, Any]:
    part = token.partition(b".")[0]
    try:
        header = json.loads(urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise Refused("the token is malformed") from None
    if not isinstance(header, dict) or "crit" in header or header.get("b64", True) is not True:
        raise Refused("the token is malformed")
    return header


def _fitting(header: dict[str, Any], algorithm: str, keys: Sequence[Key]) -> list[Key]:
    """The keys that the signature may be verified with. Raises `Refused`."""
    kid = header.get("kid")
    if kid is None:
        fitting = [key for key in keys if algorithm in key.algorithms]
        if not fitting:
            raise Refused("no key is known for the token", unknown_key=True)
        return fitting[:_TRIED]
    named = [key for key in keys if key.kid == kid or not key.kid]
    if not named:
        raise Refused("no key is known for the token", unknown_key=True)
    fitting = [key for key in named if algorithm in key.algorithms]
    if not fitting:
        raise Refused("the token is signed with an algorithm that is not allowed")
    return fitting[:_TRIED]


def _payload(token: bytes, keys: list[Key], algorithm: str) -> bytes:
    """The payload of a token whose signature one of the keys verifies. Raises `Refused`."""
    import jwt

    for key in keys:
        try:
            payload: bytes = jwt.PyJWS(algorithms=[algorithm]).decode_complete(token, key.key, [algorithm])["payload"]
            return payload
        except jwt.exceptions.InvalidSignatureError:
            continue
        except (jwt.exceptions.PyJWTError, ValueError, TypeError):
            raise Refused("the token is malformed") from None
    raise Refused("the signature of the token is wrong")


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        raise Refused("the token is malformed") from None
    if not isinstance(claims, dict):
        raise Refused("the token is malformed")
    return claims


def _judged(claims: dict[str, Any], rules: Rules, now: float) -> float:
    """The time until which these claims are accepted. Raises `Refused`."""
    ends = _moment(claims, "exp")
    if ends is None:
        raise Refused("the token has no end (`exp`)")
    if now >= ends + rules.leeway:
        raise Refused("the token has expired")
    for name in ("nbf", "iat"):
        begins = _moment(claims, name)
        if begins is not None and now < begins - rules.leeway:
            raise Refused("the token is not valid yet")
    if rules.issuer and claims.get("iss") != rules.issuer:
        raise Refused("the token is of another issuer")
    if rules.audience:
        audience = claims.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        if rules.audience.isdisjoint([one for one in named if isinstance(one, str)]):
            raise Refused("the token is for another audience")
    return ends + rules.leeway


def _moment(claims: dict[str, Any], name: str) -> float | None:
    """A claim that is a time (NumericDate, RFC 7519, section 2), None if there is none. Raises `Refused`."""
    value = claims.get(name)
    if value is None:
        return None
    try:
        moment = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
    except OverflowError:  # an integer of hundreds of digits
        moment = math.nan
    if not math.isfinite(moment):
        raise Refused("the token is malformed")
    return moment
