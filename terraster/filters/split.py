"""`split`: the clients of a location, divided among arms; each client keeps its arm.

    Set-Cookie: terraster-split-5f0c21d9=Zk3v9Q0aXr1cW6yTq2mPfA8sJd4b; Path=/; Secure; HttpOnly; SameSite=Lax

The cookie has an id that is drawn by chance, and a signature: the first 96 bits of HMAC-SHA256 over the cookie's name and the id. It does not
name an arm: the arm follows from the id and the weights (`terraster.policy.split`), in each worker, after each reload and restart. A cookie
that is not signed with our key is one of a new client, who gets another. The client keeps its id when weights change.

A request gets here behind all filters that may answer it. The location of the exchange becomes that of the arm, which has the same filters.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from hmac import compare_digest, digest
from os import urandom
from typing import Any, ClassVar

from ..balance.keys import cookies, parameter
from ..balance.set_cookie import attributes
from ..exchange import Exchange
from ..policy.split import Layout
from ..state.view import SeatView
from ..wire.edits import Edits
from .client_key import bits
from .contract import Counter, Filter, Place

__all__ = ["Split", "signed"]

_ID, _SIGNATURE = 12, 16
"""Characters of the cookie's value: 72 bits, and 96."""


_MOST = 4096
"""Clients that are remembered at a place, with their arms; then they are forgotten together. It spares a signature and a hash for each arm."""

_LONG = 128
"""Octets of a client that is not remembered: a client may send many long ones."""


def signed(key: bytes, name: bytes, client: bytes) -> bytes:
    """The value of the cookie of this name for a client (its id)."""
    return client + urlsafe_b64encode(digest(key, b"split\0%b\0%b" % (name, client), "sha256"))[:_SIGNATURE]


class Split(Filter):
    """Hands each request to the arm of its client."""

    __slots__ = (
        "_by",
        "_by_name",
        "_fallback",
        "_fallbacks",
        "_genuine",
        "_https",
        "_key",
        "_known",
        "_layout",
        "_lines",
        "_locations",
        "_name",
        "_override",
        "_overrides",
        "_prefix",
        "_split",
        "chance",
    )

    name: ClassVar[str] = "split"
    settings: ClassVar[None] = None
    counters: ClassVar[tuple[Counter, ...]] = (
        Counter("fallbacks", "Requests that went to another arm than their client's, because no backend of that was up."),
        Counter("overrides", "Requests that named their arm themselves (`split.override`)."),
    )

    def __init__(self, settings: None, place: Place, view: SeatView) -> None:
        self._split = split = None if place.location is None else place.location.split
        if split is None:
            return
        assert place.location is not None
        self.chance: Callable[[int], bytes] = urandom
        self._fallbacks, self._overrides = place.tally("fallbacks"), place.tally("overrides")
        self._layout = Layout(split.salt, [(arm.name, arm.weight) for arm in split.arms])
        self._locations = tuple(arm.location for arm in split.arms)
        self._by_name = {arm.name.encode(): arm.location for arm in split.arms}
        self._by, self._override = _words(split.by), _words(split.override)
        self._prefix, self._fallback = split.ipv6_prefix, split.fallback
        self._name, self._key = split.cookie.name.encode("ascii"), split.cookie.key
        self._lines, self._https = attributes(split.cookie, place.location.path)
        self._genuine: dict[bytes, bytes] = {}  # the clients of cookies that were verified
        self._known: dict[bytes, str] = {}  # the arms of clients

    def needs(self, hook: str) -> bool:
        return self._split is not None and (hook == "on_request" or self._by == ("cookie", b""))

    def on_request(self, exchange: Exchange) -> None:
        arms: dict[str, Any] = exchange.service.arms
        if self._override[0]:
            asked = self._by_name.get(_value(exchange, *self._override))
            if asked is not None:
                self._overrides.count()
                exchange.location = arms[asked]
                return
        client = self._client(exchange)
        location = arms[self._known.get(client) or self._assign(client)]
        if self._fallback and not location.takes(exchange):
            for index in self._layout.ranked(client):
                other = arms[self._locations[index]]
                if other.takes(exchange):
                    self._fallbacks.count()
                    location = other
                    break
        exchange.location = location

    def explained(self, exchange: Exchange, answered: bool) -> str:
        split = self._split
        assert split is not None
        arms = ", ".join([f"{arm.name} {arm.weight}" for arm in split.arms])
        if self._override[0] and self._by_name.get(_value(exchange, *self._override)) == exchange.location.id:
            how = f"the request names it by {split.override}"
        elif exchange.facts is not None and Split in exchange.facts:
            how = f"by chance, as the client has no cookie {split.cookie.name}; weights: {arms}"
        else:
            how = f"by {split.by}; weights: {arms}"
        return f"chooses the arm {exchange.location.arm}, {how}"

    def on_response(self, exchange: Exchange, edits: Edits) -> None:
        """Set the cookie of a new client, on errors as well: the client keeps its arm."""
        if exchange.facts is None or (edits.status < 200 and edits.status != 101):
            return
        client = exchange.facts.get(Split)
        if client is not None:
            value = signed(self._key, self._name, client)
            edits.extra += b"Set-Cookie: %b=%b%b" % (self._name, value, self._https if exchange.scheme == "https" else self._lines)

    def _client(self, exchange: Exchange) -> bytes:
        """The id of the client."""
        if self._by == ("cookie", b""):
            for value in cookies(exchange, self._name):
                client = self._genuine.get(value) or self._verify(value)
                if client:
                    return client
            if exchange.facts is None:
                exchange.facts = {}
            exchange.facts[Split] = client = urlsafe_b64encode(self.chance(_ID * 6 // 8))
            return client
        return _value(exchange, *self._by) or bits(exchange.client_ip, self._prefix)

    def _verify(self, value: bytes) -> bytes:
        """The client of a cookie, b"" if the cookie is not one of ours."""
        client = value[:_ID]
        if len(value) != _ID + _SIGNATURE or not compare_digest(value, signed(self._key, self._name, client)):
            return b""
        if len(self._genuine) >= _MOST:
            self._genuine.clear()
        self._genuine[value] = client
        return client

    def _assign(self, client: bytes) -> str:
        """The id of the location of a client's arm."""
        arm = self._locations[self._layout.arm(client)]
        if len(client) <= _LONG:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[client] = arm
        return arm


def _words(selector: str) -> tuple[str, bytes]:
    """The kind and the name of a selector like ``header:NAME``."""
    kind, _, name = selector.partition(":")
    return kind, (name.lower() if kind == "header" else name).encode("ascii")


def _value(exchange: Exchange, kind: str, name: bytes) -> bytes:
    """The value that a request has for a selector, b"" if it has none."""
    if kind == "header":
        return exchange.field(name)
    if kind == "query":
        return parameter(exchange.query, name)
    if kind == "cookie":
        for value in cookies(exchange, name):
            return value
    return b""
