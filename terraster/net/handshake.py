"""The outcome of a TLS handshake with a client: its facts, or the error that ended it."""

from __future__ import annotations

import ssl
from typing import Self

from terraster.errors import ClientGone

from .engine import Engine, facts

__all__ = ["Handshake", "HandshakeFailed", "failure"]


class Handshake:
    """The facts of a handshake that is over.

    version:     "TLSv1.2" or "TLSv1.3"
    cipher:      the suite, by OpenSSL's name
    alpn:        the protocol that was agreed on, "" for none
    server_name: the name that the client asked for, in lower case; "" for none
    resumed:     True if it went on from an earlier session
    """

    __slots__ = ("alpn", "cipher", "resumed", "server_name", "version")

    def __init__(self, version: str, cipher: str, server_name: str, resumed: bool, alpn: str = "") -> None:
        self.version = version
        self.cipher = cipher
        self.server_name = server_name
        self.resumed = resumed
        self.alpn = alpn

    @classmethod
    def of(cls, engine: Engine, server_name: str) -> Self:
        """The facts that an engine knows once its handshake is over."""
        version, cipher, protocol, resumed = facts(engine)
        return cls(version, cipher, server_name, resumed, protocol)


class HandshakeFailed(ClientGone):
    """The handshake cannot go on, so the connection ends. result: the kind of failure (`terraster.state.cells.HANDSHAKE_FAILURES`)"""

    __slots__ = ("result",)

    def __init__(self, detail: str, result: str) -> None:
        super().__init__(detail)
        self.result = result


_BY_WORD = (
    ("ALERT", "client_refused"),  # the client sent an alert: it does not like the certificate, say
    ("CERTIFICATE", "certificate"),
    ("CRL", "certificate"),
    ("NO_SHARED_CIPHER", "no_common_parameters"),
    ("NO_SUITABLE", "no_common_parameters"),
    ("NO_SHARED_SIGNATURE", "no_common_parameters"),
    ("UNSUPPORTED_PROTOCOL", "version"),
    ("VERSION_TOO_LOW", "version"),
    ("UNKNOWN_PROTOCOL", "version"),
)
"""Parts of the library's reasons, and the failures that they stand for. The first that occurs holds."""


def failure(error: ssl.SSLError) -> str:
    """The kind of failure that an error of the engine stands for."""
    words = (error.reason or str(error)).upper().replace(" ", "_")
    for word, kind in _BY_WORD:
        if word in words:
            return kind
    return "protocol"
