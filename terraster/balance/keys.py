"""The key that a request is hashed by: from `Location.hash_on` to a function of the exchange.

`client-ip`   the client's address; of an IPv6 address the first 64 bits, as a host has the rest to itself and changes it (RFC 8981)
`path`        the path as it was matched, without the query
`header:X`    the first field X
`cookie:X`    the first cookie X
`query:X`     the first parameter X of the query, as written (no percent-decoding)

Where there is no such value, or an empty one, it is the client's address: one key for all who lack it would send them all to one
backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from socket import AF_INET6, inet_pton

from ..exchange import Exchange
from ..wire.cookies import cookie_values

__all__ = ["Key", "cookies", "key_of", "parameter"]

Key = Callable[[Exchange], bytes]

_MAPPED = bytes(10) + b"\xff\xff"


def key_of(hash_on: str) -> Key:
    """The function that a value of ``hash_on`` means. ValueError for one that means nothing."""
    kind, _, name = hash_on.partition(":")
    if hash_on == "client-ip":
        return _client
    if hash_on == "path":
        return lambda exchange: exchange.path or _client(exchange)
    wanted = name.encode("ascii")
    if kind == "header" and name:
        wanted = wanted.lower()
        return lambda exchange: exchange.field(wanted) or _client(exchange)
    if kind == "cookie" and name:
        return lambda exchange: next(cookies(exchange, wanted), b"") or _client(exchange)
    if kind == "query" and name:
        return lambda exchange: parameter(exchange.query, wanted) or _client(exchange)
    raise ValueError(f"is hashed by nothing known: {hash_on!r}")


def cookies(exchange: Exchange, name: bytes) -> Iterator[bytes]:
    """The values that a request's cookies of this name have, in order (`terraster.wire.cookies`)."""
    return iter(cookie_values(() if exchange.head is None else exchange.head.fields, name))


def _client(exchange: Exchange) -> bytes:
    address = exchange.client_ip
    if ":" not in address:
        return address.encode("ascii", "replace")
    try:
        packed = inet_pton(AF_INET6, address.partition("%")[0])
    except OSError:
        return address.encode("ascii", "replace")
    if packed.startswith(_MAPPED):
        return ".".join(map(str, packed[12:])).encode("ascii")
    return packed[:8]


def parameter(query: bytes, name: bytes) -> bytes:
    """The value of the first parameter of this name that has one, as written; b"" if there is none."""
    if name not in query:
        return b""
    for pair in query.split(b"&"):
        found, _, value = pair.partition(b"=")
        if found == name and value:
            return value
    return b""
