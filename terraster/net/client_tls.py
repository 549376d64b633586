"""TLS towards one backend: its settings for the engine, and the session that its connections resume.

A resumed session skips the exchange of certificates: a fifth of the time of a handshake, and one round trip with TLS 1.2. Sessions belong
to one backend and to one set of settings, so a connection never resumes what was verified under other settings. The newest session is
used, as often as connections are opened (RFC 8446, section C.4, warns only of observers that link connections, and all of these are ours).

A resumed session is not verified again, and each resumption brings a new one: so a backend whose certificate has expired would stay trusted
for as long as it is asked. Therefore a full handshake is made if the last one was `FULL` seconds ago.
"""

from __future__ import annotations

import ssl
from typing import Protocol

from terraster.config.snapshot import Backend, Credentials

__all__ = ["FULL", "ClientTls", "ContextsOfBackends"]

FULL = 3600.0
"""Seconds after which a certificate is verified again."""


class ContextsOfBackends(Protocol):
    """`terraster.certs.client_contexts.ClientContexts`."""

    def get(self, skip_verify: bool, credentials: Credentials, protocol: str, /) -> ssl.SSLContext:
        """The context for these settings, which the caller keeps. protocol: that is offered by ALPN"""


class ClientTls:
    """How connections to a backend speak TLS. server_name: the SNI, and the name that the backend's certificate must have."""

    __slots__ = ("server_name", "_backend", "_context", "_contexts", "_session", "_verified")

    def __init__(self, backend: Backend, contexts: ContextsOfBackends) -> None:
        """contexts: those of the process"""
        self.server_name = backend.sni or backend.host
        self._backend = backend
        self._contexts = contexts
        self._context: ssl.SSLContext | None = None
        self._session: ssl.SSLSession | None = None
        self._verified = 0.0  # monotonic time of the last handshake in which the backend showed its certificate

    def engine(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, now: float) -> ssl.SSLObject:
        """The engine of a new connection. Raises ValueError or TypeError if the name is not one that TLS can send."""
        if self._context is None:
            backend = self._backend
            protocol = "h2" if backend.http2 else "http/1.1"
            self._context = self._contexts.get(backend.skip_tls_verify, backend.credentials, protocol)
        session = self._session if now - self._verified < FULL else None
        return self._context.wrap_bio(incoming, outgoing, server_hostname=self.server_name, session=session)

    def shaken(self, engine: ssl.SSLObject, now: float) -> None:
        """A handshake is over."""
        if not engine.session_reused:
            self._verified = now

    def keep(self, engine: ssl.SSLObject) -> None:
        """Take the session of a connection for those to come, if it can be resumed: with TLS 1.3 only when a ticket has come, behind the
        handshake."""
        session = engine.session
        if session is not None and (session.has_ticket or session.id and engine.version() == "TLSv1.2"):
            self._session = session

    def forget(self) -> None:
        """A handshake failed: make a full one next time, because the session may be the reason."""
        self._session = None
