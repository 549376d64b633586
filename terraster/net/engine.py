"""The TLS engine of a connection and its two buffers, as a stream calls them.

In pure Python these are the objects behind the standard library's own: each method of an `ssl.SSLObject` is a function of Python that calls the
same one of the object behind it. The compiled twin calls the library that `ssl` is bound to, without the interpreter's detour.
"""

from __future__ import annotations

import ssl
from typing import Any, Protocol

__all__ = ["Buffer", "Engine", "buffer_of", "engine_of", "memory_of"]


class Buffer(Protocol):
    """See `ssl.MemoryBIO`."""

    @property
    def pending(self) -> int:
        """The octets in it."""

    def read(self) -> bytes:
        """Take all octets."""

    def write(self, data: bytes | bytearray) -> int:
        """Add octets."""

    def write_eof(self) -> None:
        """No octets follow."""


class Engine(Protocol):
    """See `ssl.SSLObject`. Raises the same errors."""

    @property
    def session_reused(self) -> bool:
        """True if the handshake went on from an earlier session."""

    def cipher(self) -> tuple[str, str, int] | None:
        """The suite: its name is the first value."""

    def do_handshake(self) -> None:
        """Go on with the handshake."""

    def pending(self) -> int:
        """The decrypted octets that wait to be read."""

    def read(self, size: int) -> bytes:
        """Decrypted octets, at most so many and at most those of one record."""

    def selected_alpn_protocol(self) -> str | None:
        """The protocol that was agreed on."""

    def shutdown(self) -> object:
        """Write a close_notify, and look for the peer's. Raises `ssl.SSLError` if that has not come."""

    def version(self) -> str | None:
        """The version of TLS."""

    def write(self, data: bytes | memoryview) -> int:
        """Encrypt all octets."""


def engine_of(made: ssl.SSLObject) -> Engine:
    """The engine of a new connection. made: the standard library's view of it"""
    found: Any = made
    return getattr(found, "_sslobj", found)  # type: ignore[no-any-return]


def buffer_of(memory: ssl.MemoryBIO, engine: Engine) -> Buffer:
    """A buffer. memory: the standard library's view of it. engine: the one that it belongs to"""
    return memory


def memory_of(buffer: Buffer) -> ssl.MemoryBIO:
    """The standard library's view of a buffer."""
    found: Any = buffer
    return found  # type: ignore[no-any-return]
