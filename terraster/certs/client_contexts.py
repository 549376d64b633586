"""The TLS settings towards backends as the engine wants them (`ssl.SSLContext`), made at the first connection that needs them.

A context with the authorities of the system takes 20 ms and a megabyte. So backends of the same settings share one, for as long as one of
them is in use.
"""

from __future__ import annotations

import ssl
from weakref import WeakValueDictionary

from terraster.config.snapshot import Credentials

from .contexts import load_certificate

__all__ = ["ClientContexts", "client_context"]


class ClientContexts:
    """The contexts of one process, by settings."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: WeakValueDictionary[tuple[bool, Credentials, str], ssl.SSLContext] = WeakValueDictionary()

    def get(self, skip_verify: bool, credentials: Credentials, protocol: str = "http/1.1") -> ssl.SSLContext:
        """The context for these settings. The caller keeps it. protocol: that is offered by ALPN"""
        key = skip_verify, credentials, protocol
        context = self._made.get(key)
        if context is None:
            context = self._made[key] = client_context(skip_verify, credentials, protocol)
        return context


def client_context(skip_verify: bool, credentials: Credentials, protocol: str = "http/1.1") -> ssl.SSLContext:
    """The settings for connections to a backend: TLS 1.2 or newer, verified against the system's authorities unless configured otherwise.

    protocol: that is offered by ALPN.
    Any certificate in `ca_file` is trusted, an intermediate one or the backend's own too: no root has to be in it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    if skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif credentials.authorities:
        context.load_verify_locations(cadata=credentials.authorities)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    else:
        context.load_default_certs()
    if credentials.certificate is not None:
        load_certificate(context, credentials.certificate)
    context.set_alpn_protocols([protocol])
    return context
