"""The TLS settings of each service as the engine wants them (`ssl.SSLContext`), made at the first client that asks for the service.

A context costs 0.8 ms and 19 KiB: for 10,000 services that would be 8 s and 190 MB in each worker. So contexts are made when they are needed
and only the `MOST` that were used last are kept.
"""

from __future__ import annotations

import os
import ssl
from collections import OrderedDict
from collections.abc import Sequence

from terraster.config.client_auth import ClientAuth
from terraster.config.snapshot import Certificate, Staple, Tls
from terraster.policy.key_kind import certain_kind
from terraster.wire.hello_offer import offer

from . import libssl
from .choice import Choices
from .libssl import Libssl, Refused
from .stapler import give_up, stapler
from .tickets import Tickets, TicketSecrets

__all__ = ["GROUPS", "INTERMEDIATE", "MOST", "SUITES", "Contexts", "load_certificate", "load_pair", "server_context"]

MOST = 1000
"""Contexts that a worker keeps."""

INTERMEDIATE = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
"""The suites for TLS 1.2 of Mozilla's "intermediate" configuration (Server Side TLS 5.7), without those over finite fields, which need
parameters that the standard library cannot choose."""

SUITES = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""The suites for TLS 1.3 of the same configuration, in its order. OpenSSL prefers the one with SHA-384, and with it a handshake costs 20 µs
more (288 instead of 268)."""

GROUPS = ("X25519", "P-256", "P-384")
"""The groups of the same configuration. A library that has `_HYBRID` offers it first."""

_HYBRID = "X25519MLKEM768"  # OpenSSL 3.5

_Made = tuple[ssl.SSLContext, Tickets | None]

_MOST_NAMES = 100  # authorities that clients are told: each name is a part of every handshake

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Contexts:
    """The contexts of one worker, by service and the certificates for a server name.

    secrets: what the keys of session tickets are derived from; None: each context has keys of its own
    library: sets these keys, and the groups; None: that of this process, looked for with the first context, as it takes 1 MiB
    """

    __slots__ = ("secrets", "_choices", "_last", "_library", "_made", "_most", "_refused")

    def __init__(self, most: int = MOST, library: Libssl | None = None) -> None:
        self.secrets: TicketSecrets | None = None
        self._library = library
        self._refused = False
        self._made: OrderedDict[tuple[str, tuple[Certificate, ...]], tuple[Tls, _Made]] = OrderedDict()
        self._choices: dict[str, tuple[Tls, Choices, dict[str, Staple]]] = {}  # responses by the certificate's fingerprint
        self._last: tuple[str, Tls, str, Certificate | None, _Made] | None = None  # what was used last
        self._most = most

    def get(self, service: str, tls: Tls, name: str = "", only: Certificate | None = None) -> ssl.SSLContext:
        """The context for these settings of a service, with its certificates for a server name; a new one if they differ from those
        before. only: with this one of them alone"""
        return self.find(service, tls, name, only)[0]

    def find(
        self, service: str, tls: Tls, name: str = "", only: Certificate | None = None
    ) -> tuple[ssl.SSLContext, Tickets | None]:
        """The context that `get` gives, and its ticket keys. None if it has no keys that other workers have."""
        last = self._last
        if last is not None and last[1] is tls and last[2] == name and last[0] == service and last[3] is only:
            context, tickets = last[4]  # as most often
        else:
            context, tickets = found = self._find(service, tls, name, only)
            self._last = service, tls, name, only, found
        if tickets is not None and self.secrets is not None and tickets.secrets is not self.secrets:
            tickets.take(self.secrets)
        return context, tickets

    def _find(self, service: str, tls: Tls, name: str, only: Certificate | None) -> _Made:
        made = self._made
        certificates = self._certificates(service, tls, name)
        if only is not None and len(certificates) > 1:
            certificates = (only,)
        key = service, certificates
        found = made.get(key)
        if found is None or found[0] is not tls:
            context = server_context(tls, certificates)
            found = made[key] = tls, (context, self._complete(service, tls, context))
        made.move_to_end(key)
        if len(made) > self._most:
            made.popitem(last=False)
        return found[1]

    def _certificates(self, service: str, tls: Tls, name: str) -> tuple[Certificate, ...]:
        """The certificates of a service for a server name, one of each kind."""
        choices = self._choices.get(service)
        if choices is None or choices[0] is not tls:
            if len(self._choices) >= self._most:
                self._choices.clear()  # so that those of removed services go; the others are made again
            choices = self._choices[service] = tls, Choices(tls.certificates), {one.fingerprint: one for one in tls.staples}
        return choices[1].of(name)

    def stapled(self, service: str, tls: Tls, name: str, hello: bytes) -> Certificate | None:
        """The one certificate that a client gets, if it is certain, and if the service has an OCSP response for it; else None.

        hello: the whole message"""
        certificates = self._certificates(service, tls, name)
        one = certificates[0]
        if len(certificates) > 1:
            client = offer(hello)
            kind = client.wants_status and certain_kind(
                {one.kind: one.curve for one in certificates}, client, tls.ciphers or INTERMEDIATE
            )
            one = next((one for one in certificates if one.kind == kind), one)
            if one.kind != kind:
                return None
        return one if one.fingerprint in self._choices[service][2] else None

    def staple(self, service: str, certificate: Certificate, engine: ssl.SSLObject, now: float) -> None:
        """Give an engine the OCSP response for the certificate that `stapled` gave. One that has ended is not given. now: time.time()"""
        found, library = self._choices[service][2][certificate.fingerprint], stapler()
        if library is not None and now < found.next_update:
            try:
                library.give(engine, found.response)
            except Refused as refused:
                give_up(refused)

    def _complete(self, service: str, tls: Tls, context: ssl.SSLContext) -> Tickets | None:
        """Set what the standard library cannot. Returns the ticket keys, if the context has some that other workers have."""
        if tls.staples and (stapling := stapler()) is not None:
            try:
                stapling.prepare(context)
            except Refused as refused:
                give_up(refused)
        library = None if self._refused else self._library or libssl.openssl()
        if library is None:
            return None
        try:
            if not library.set_groups(context, (_HYBRID, *GROUPS)):
                library.set_groups(context, GROUPS)
            library.set_suites(context, SUITES)
            library.send_given_chain(context)
            library.keep_no_sessions(context)
            if tls.tickets and self.secrets is not None:
                return Tickets(library, context, repr((service, tls.admission())).encode(), self.secrets)
        except Refused:
            self._refused = True  # as if the library could not be reached
        return None


def server_context(tls: Tls, certificates: Sequence[Certificate] | None = None) -> ssl.SSLContext:
    """The engine's settings for a service. certificates: those for one server name, one of each kind of key; None: all that the service
    has. `terraster.certs.certificate` has checked them. Raises `ssl.SSLError` for suites that the library does not have."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_ciphers(":".join(tls.ciphers or INTERMEDIATE))
    context.num_tickets = 1  # a second one costs each full handshake 14 µs, and a resumed handshake spares no more than 40
    if not tls.tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    for certificate in tls.certificates if certificates is None else certificates:
        load_certificate(context, certificate)
    if tls.client_auth is not None:
        _ask(context, tls.client_auth)
    if tls.protocols:
        context.set_alpn_protocols(list(tls.protocols))
    return context


def load_certificate(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Give a certificate to the engine."""
    load_pair(context, certificate.chain + b"\n" + certificate.key)


def load_pair(context: ssl.SSLContext, pair: bytes) -> None:
    """Give a certificate with its key, in PEM, to the engine."""
    descriptor = _in_memory(pair)
    try:
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _ask(context: ssl.SSLContext, authentication: ClientAuth) -> None:
    """Have the engine ask clients for certificates, and verify them."""
    authorities = authentication.authorities
    assert authorities is not None
    context.verify_mode = ssl.CERT_REQUIRED if authentication.mode == "require" else ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an authority of the file is trusted even if its root is not there
    if authorities.revokes:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    library = libssl.openssl()
    if authentication.verify_depth is not None:
        if library is None:
            raise Refused(libssl.refusal())
        library.set_verify_depth(context, authentication.verify_depth)
    descriptor = _in_memory(authorities.pem)
    try:
        context.load_verify_locations(f"/proc/self/fd/{descriptor}")
        if library is not None and authorities.pem.count(b"-----BEGIN CERTIFICATE-----") <= _MOST_NAMES:
            library.name_authorities(context, f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _in_memory(octets: bytes) -> int:
    """The descriptor of a file in memory that nobody else can open, because the engine reads only files."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(octets)
    return descriptor
