"""The two calls that a request makes of a stream, plain or TLS: a common class, so that compiled code makes them without a look-up."""

from __future__ import annotations

__all__ = ["Duplex"]


class Duplex:
    """What `terraster.net.stream.Stream` and `terraster.net.tls.TlsStream` are.

    buffers: True if octets that have left the socket may wait in the stream
    """

    __slots__ = ("buffers",)

    buffers: bool

    def recv(self, timeout: float, size: int = 0) -> bytes:
        """See `terraster.net.stream.Stream.recv`. size: each class has its own default"""
        raise NotImplementedError

    def send(self, data: bytes | memoryview, timeout: float, more: bytes = b"") -> bool:
        """See `terraster.net.stream.Stream.send`."""
        raise NotImplementedError
