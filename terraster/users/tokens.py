"""Access tokens: signed JWTs (RFC 7519) that lead to a session for a quarter of an hour.

A token says which user and which session it is for, and nothing about what the user may do: role and state are read from the database at
each request. HS256 is the only algorithm, whatever the token's header says (RFC 8725, section 3.1).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .faults import Denied

__all__ = ["LIFE", "Claims", "read", "sign"]

LIFE = 900
"""Seconds that a token works."""

_ALGORITHM = "HS256"
_OCTETS = 4096
"""A longer token is not one of ours."""


class Claims(NamedTuple):
    """The claims of a token. user: the user's number; issued, expires: seconds since 1970"""

    user: int
    session: str
    issued: int
    expires: int


def sign(user: int, session: str, key: bytes, now: int) -> str:
    """A token."""
    import jwt  # only here: it takes a tenth of a second, and most processes need none

    claims = {"sub": str(user), "sid": session, "iat": now, "exp": now + LIFE}
    return jwt.encode(claims, key, algorithm=_ALGORITHM)


def read(token: str, key: bytes, now: int) -> Claims:
    """The claims of a token. Raises Denied if it is not one of ours, or has expired."""
    import jwt

    if len(token) > _OCTETS:
        raise Denied("the token is not valid")
    options: Any = {"require": ["exp", "iat", "sub", "sid"]}
    options |= {"verify_exp": False, "verify_iat": False, "verify_nbf": False}  # the clock is an argument here
    try:
        found = jwt.decode(token, key, algorithms=[_ALGORITHM], options=options)
        claims = Claims(int(found["sub"]), str(found["sid"]), int(found["iat"]), int(found["exp"]))
    except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
        raise Denied("the token is not valid") from None
    if claims.expires <= now or claims.expires - claims.issued > LIFE:
        raise Denied("the token has expired; refresh it or log in again")
    return claims
