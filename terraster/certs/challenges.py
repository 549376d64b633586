"""The answers to an authority that proves names: what every worker has to know while an order is under way."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from .contexts import load_pair

__all__ = ["ALPN", "NONE", "Answers", "Challenges"]

ALPN = b"acme-tls/1"
"""The protocol that an authority offers, and no other one, when it asks (RFC 8737, section 4)."""

_PREFIX = b"/.well-known/acme-challenge/"


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to one authority. tokens: of http-01 (RFC 8555, section 8.3), each with its key authorization. certificates: of
    tls-alpn-01, by name, in PEM with the key. Picklable."""

    tokens: dict[str, str] = field(default_factory=dict, repr=False)
    certificates: dict[str, str] = field(default_factory=dict, repr=False)


NONE = Answers()


class Challenges:
    """The answers as a worker gives them. active: True while there are any."""

    __slots__ = ("active", "_contexts", "_tokens")

    def __init__(self) -> None:
        self.active = False
        self._tokens: dict[bytes, bytes] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}

    def use(self, answers: Answers) -> None:
        """Give these answers from now on, and no others."""
        self._tokens = {_PREFIX + token.encode(): value.encode() for token, value in answers.tokens.items()}
        self._contexts = {name: _context(pair.encode()) for name, pair in answers.certificates.items()}
        self.active = bool(self._tokens or self._contexts)

    def authorization(self, target: bytes) -> bytes | None:
        """The answer to a request in clear; None if it is not an authority's, or not for a token of ours."""
        return self._tokens.get(target)

    def context(self, name: str) -> ssl.SSLContext | None:
        """The settings for a handshake that offers `ALPN`; None if no order is under way for the name."""
        return self._contexts.get(name)


def _context(pair: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN.decode()])
    load_pair(context, pair)
    return context
