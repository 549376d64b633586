"""How the connections of a load speak TLS. Each makes a full handshake, as a new client would."""

from __future__ import annotations

import ssl

from terraster.net.client_tls import ClientTls

from .load import Load

__all__ = ["LoadTls", "context_of"]


def context_of(load: Load) -> ssl.SSLContext:
    """The settings of a load. Raises OSError or ssl.SSLError for a file of authorities that cannot be used."""
    context = ssl.create_default_context(cafile=load.authorities or None)
    if load.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2" if load.http2 else "http/1.1"])
    return context


class LoadTls(ClientTls):
    """The settings for the engines of all connections."""

    __slots__ = ("_settings",)

    def __init__(self, load: Load) -> None:
        self.server_name = load.host
        self._settings = context_of(load)

    def engine(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, now: float) -> ssl.SSLObject:
        """See `ClientTls.engine`."""
        return self._settings.wrap_bio(incoming, outgoing, server_hostname=self.server_name)

    def shaken(self, engine: ssl.SSLObject, now: float) -> None:
        """See `ClientTls.shaken`."""

    def keep(self, engine: ssl.SSLObject) -> None:
        """See `ClientTls.keep`: no session is resumed."""

    def forget(self) -> None:
        """See `ClientTls.forget`."""
