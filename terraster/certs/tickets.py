"""Session tickets (RFC 5077; RFC 8446, section 4.6.1) that every worker can read.

The master makes secrets, and gives the same ones to all workers. The keys of a service are derived from a secret, the service's name and
its demands on clients. So a ticket of one service is worth nothing at another one, and a change of the demands ends the sessions from
before.

OpenSSL has one set of keys in a context: it writes tickets with them, and reads only those that have the name of these keys. A client's
ticket says that name in clear, so the right keys are put in for the moment in which the engine reads the hello.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field

from .libssl import KEY_SIZE, Libssl

__all__ = ["TicketSecrets", "Tickets", "derive"]

NAME_SIZE = 16
"""Octets at the beginning of a ticket, and of its keys: the name of the keys."""

_SECRET_SIZE = 48


@dataclass(frozen=True, slots=True)
class TicketSecrets:
    """All keys of tickets are derived from these.

    current: tickets are written with it
    next:    the one that follows; tickets are read with it, because another worker may have begun to write with it
    old:     the one before; tickets are read with it. b"" at first
    """

    current: bytes = field(repr=False)
    next: bytes = field(repr=False)
    old: bytes = field(default=b"", repr=False)

    @classmethod
    def new(cls) -> TicketSecrets:
        """Secrets that nobody knows."""
        return cls(secrets.token_bytes(_SECRET_SIZE), secrets.token_bytes(_SECRET_SIZE))

    def rotated(self) -> TicketSecrets:
        """Those that come after these."""
        return TicketSecrets(self.next, secrets.token_bytes(_SECRET_SIZE), self.current)


def derive(secret: bytes, label: bytes) -> bytes:
    """`KEY_SIZE` octets for one use: HKDF-Expand (RFC 5869, section 2.3) with SHA-512. secret: random, so nothing is extracted first"""
    first = hmac.digest(secret, label + b"\x01", "sha512")
    return (first + hmac.digest(secret, first + label + b"\x02", "sha512"))[:KEY_SIZE]


class Tickets:
    """The ticket keys of one context.

    label: who may resume: other octets for each service, and for each of its demands on clients

    Raises `terraster.certs.libssl.Refused`.
    """

    __slots__ = ("secrets", "_context", "_label", "_library", "_read", "_written")

    def __init__(self, library: Libssl, context: ssl.SSLContext, label: bytes, given: TicketSecrets) -> None:
        self._library = library
        self._context = context
        self._label = label
        library.set_session_id_context(context, hashlib.sha256(label).digest())
        self.take(given)

    def take(self, given: TicketSecrets) -> None:
        """Use these secrets from now on."""
        self.secrets = given
        self._written = derive(given.current, self._label)
        self._read = {}
        for secret in (given.next, given.old):
            if secret:
                keys = derive(secret, self._label)
                self._read[keys[:NAME_SIZE]] = keys
        self.write()

    def read(self, names: Iterable[bytes]) -> bool:
        """Be ready to read the tickets of a client, by the names of their keys. True if these are not the current ones: then `write` must
        follow, before another greenlet runs."""
        for name in names:
            if name in self._read:
                self._library.set_ticket_keys(self._context, self._read[name])
                return True
        return False

    def write(self) -> None:
        """Be ready to write tickets."""
        self._library.set_ticket_keys(self._context, self._written)
