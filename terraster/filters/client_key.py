"""Clients as limits tell them apart: from a key of the configuration to a number for each client.

`client-ip`   the client's address, behind `trusted_proxies` the one that they report; of an IPv6 address the first bits, as a network has the
              rest to itself
`header:X`    the first field X
`cookie:X`    the first cookie X
`path`        the path as it was matched, without the query
`query:X`     the first parameter X of the query, as written
`jwt:CLAIM`   a claim of the token that the request was authenticated with; `a.b` is the claim b inside of a

Where there is no such value, or an empty one, it is the client's address, as a key of its own kind: who sends no value shares no limit with
all others who send none, and nobody can use up the limit of an address by sending it as a value.

A number is a hash with a key that all processes of a table share and no client knows. So nobody can choose values that fall on the number of
another client.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from ipaddress import ip_address
from socket import AF_INET6, inet_pton
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from ..balance.keys import cookies, parameter
from ..config import header_rules
from ..config.settings.base import Whole, text
from ..exchange import Exchange
from ..policy.tokens import claim

__all__ = ["ClientKey", "Prefix", "RequestKey", "bits"]

_MAPPED = bytes(10) + b"\xff\xff"
_KINDS = ("header", "cookie", "query", "jwt")
_MOST = 4096
"""Numbers that are remembered at a place; then they are forgotten together. A hash takes 2 µs, a look 0.1."""

_LONG = 128
"""Octets of a value that is not remembered: a client may send many long ones."""


def _key(value: object) -> str:
    written = text(value).strip()
    kind, _, name = written.partition(":")
    if written in ("client-ip", "path"):
        return written
    if kind not in _KINDS or not name:
        raise ValueError("must be client-ip, path, header:NAME, cookie:NAME, query:NAME or jwt:CLAIM")
    if kind == "header":
        header_rules.field_name(name)
    if not name.isascii():
        raise ValueError(f"names a {kind} with characters that are not ASCII")
    return written


RequestKey = Annotated[
    str,
    BeforeValidator(_key),
    WithJsonSchema({"type": "string", "pattern": "^(client-ip|path|(header|cookie|query|jwt):.+)$"}),
]
Prefix = Annotated[Whole, Field(ge=1, le=128)]


def bits(address: str, prefix: int) -> bytes:
    """The octets that clients with this address share. prefix: bits that count of an IPv6 address; all others count as a whole."""
    if ":" not in address:
        return address.encode("ascii", "replace")
    try:
        packed = inet_pton(AF_INET6, address.partition("%")[0])
    except OSError:
        return address.encode("ascii", "replace")
    if packed.startswith(_MAPPED):
        return ".".join(map(str, packed[12:])).encode("ascii")
    rest = 128 - prefix
    return (int.from_bytes(packed, "big") >> rest << rest).to_bytes(16, "big")


class ClientKey:
    """Gives each client of one policy its number."""

    __slots__ = ("_base", "_known", "_name", "_prefix", "kind")

    def __init__(self, secret: bytes, policy: str, key: str, prefix: int) -> None:
        """secret: of the table. policy: names what is limited; clients of two policies never have the same number. key: a `RequestKey`."""
        self.kind, _, name = key.partition(":")
        self._name = name if self.kind == "jwt" else name.lower().encode() if self.kind == "header" else name.encode()
        self._prefix = prefix
        self._base = blake2b(f"{policy}\0{key}/{prefix}\0".encode(), digest_size=8, key=secret)
        self._known: dict[str | bytes, int] = {}

    def number(self, exchange: Exchange) -> int:
        """The number of the client of a request: 64 bits, not 0."""
        return self.of(exchange.client_ip if self.kind == "client-ip" else self._value(exchange) or exchange.client_ip)

    def of(self, said: str | bytes) -> int:
        """The number of a client by its address, or by a value of its request."""
        found = self._known.get(said)
        return self._hash(said) if found is None else found

    def known(self) -> list[tuple[str | bytes, int]]:
        """The clients that this process remembers, with their numbers: addresses as text, values as octets."""
        return list(self._known.items())

    def numbers(self, said: str) -> tuple[int, ...]:
        """The numbers that a client may have which an operator names by its address or value."""
        found = [self._hash(said)] if _is_address(said) else []
        if self.kind == "jwt":
            found.append(self._hash(json.dumps(said).encode()))
        elif self.kind != "client-ip":
            found.append(self._hash(said.encode(errors="replace")))
        return tuple(found)

    def _value(self, exchange: Exchange) -> bytes:
        name: Any = self._name
        if self.kind == "header":
            return exchange.field(name)
        if self.kind == "path":
            return exchange.path
        if self.kind == "query":
            return parameter(exchange.query, name)
        if self.kind == "cookie":
            for value in cookies(exchange, name):
                return value
            return b""
        found = None if exchange.claims is None else claim(exchange.claims, name)
        return b"" if found is None or found == "" else json.dumps(found, sort_keys=True, default=str).encode()

    def _hash(self, said: str | bytes) -> int:
        if len(self._known) >= _MOST:
            self._known.clear()
        made = self._base.copy()
        made.update(b"a" + bits(said, self._prefix) if isinstance(said, str) else b"v" + said)
        number = int.from_bytes(made.digest(), "little") or 1
        if len(said) <= _LONG:
            self._known[said] = number
        return number


def _is_address(said: str) -> bool:
    try:
        ip_address(said)
    except ValueError:
        return False
    return True
