"""The credentials of a request, where filters of authentication look for them, and the names that only they may set."""

from __future__ import annotations

from itertools import product
from urllib.parse import unquote_to_bytes

from ..errors import CLIENT, HttpError
from ..exchange import Exchange

__all__ = ["authorization", "cookie", "field", "parameter", "spellings", "without_cookie", "without_parameter"]

MOST_DASHES = 8
"""Dashes of a name that `spellings` takes."""


def field(exchange: Exchange, name: bytes) -> bytes | None:
    """A request field (lower-case name), None if there is none. Raises `HttpError` 400 if there are several, or if another one differs only by
    ``_`` for ``-``: a backend could read that one."""
    dashed = name.replace(b"_", b"-")
    found = [field for field in exchange.head.fields if field[0].lower().replace(b"_", b"-") == dashed]
    if len(found) > 1:
        raise _twice(f"{name.decode('ascii').title()} field")
    return bytes(found[0][1]) if found and found[0][0].lower() == name else None


def authorization(exchange: Exchange) -> bytes | None:
    """The Authorization field, as `field` finds it."""
    return field(exchange, b"authorization")


def cookie(exchange: Exchange, name: bytes) -> bytes | None:
    """The value of a cookie, None if there is none. Raises `HttpError` 400 if there are several."""
    found = [value for spelled, value in _cookies(exchange) if spelled == name]
    if len(found) > 1:
        raise _twice("cookie for the token")
    return found[0].strip(b'"') if found else None


def without_cookie(exchange: Exchange, name: bytes) -> bytes:
    """The value of the Cookie field without this cookie, b"" if there is no other."""
    return b"; ".join([b"%b=%b" % pair for pair in _cookies(exchange) if pair[0] != name])


def parameter(exchange: Exchange, name: bytes) -> bytes | None:
    """The value of a parameter of the query, None if there is none. Raises `HttpError` 400 if there are several."""
    found = [value for spelled, value in map(_pair, exchange.query.split(b"&")) if spelled == name]
    if len(found) > 1:
        raise _twice("parameter for the token")
    return found[0] if found else None


def without_parameter(exchange: Exchange, name: bytes) -> bytes:
    """The query without this parameter."""
    return b"&".join([part for part in exchange.query.split(b"&") if _pair(part)[0] != name])


def spellings(name: str) -> frozenset[bytes]:
    """All lower-case names that an application may take for this one, because it makes no difference between ``_`` and ``-`` (CGI, WSGI).
    ValueError if there are too many."""
    parts = name.lower().replace("_", "-").encode("ascii").split(b"-")
    if len(parts) > MOST_DASHES + 1:
        raise ValueError(f"{name} has more than {MOST_DASHES} dashes")
    marks = product((b"-", b"_"), repeat=len(parts) - 1)
    return frozenset([parts[0] + b"".join([mark + part for mark, part in zip(each, parts[1:], strict=True)]) for each in marks])


def _cookies(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    found = []
    for spelled, value in exchange.head.fields:
        if spelled.lower() == b"cookie":
            for part in value.split(b";"):
                name, equals, of_cookie = part.partition(b"=")
                if equals:  # most applications read a name without the blanks around it
                    found.append((bytes(name.strip(b" \t")), bytes(of_cookie.strip(b" \t"))))
    return found


def _pair(part: bytes) -> tuple[bytes, bytes]:
    name, _, value = part.partition(b"=")
    return unquote_to_bytes(name.replace(b"+", b" ")), unquote_to_bytes(value)


def _twice(what: str) -> HttpError:
    return HttpError(f"more than one {what}", status=400, reason="http_request_error", blame=CLIENT)
