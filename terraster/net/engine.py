"""The TLS engine of a connection and its two buffers, as a stream calls them.

In pure Python these are the objects behind the standard library's own: each method of an `ssl.SSLObject` is a function of Python that calls the
same one of the object behind it. The compiled twin calls the library that `ssl` is bound to, without the interpreter's detour.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Any, Protocol

from .memory_bio import shrinker

__all__ = [
    "CHEAP",
    "Buffer",
    "Engine",
    "buffer_of",
    "engine_of",
    "facts",
    "server_engine",
    "shake",
    "shrink",
    "take_leave",
    "view_of",
]

CHEAP = False
"""True if `shrink` costs so little that it pays for any buffer that is empty: compiled it is 0.1 µs, else 2 µs."""


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


def server_engine(context: ssl.SSLContext, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> Engine:
    """The engine of a new connection of a client. `ssl.SSLContext.wrap_bio` makes the same one with three functions of Python, and the
    standard library's view of it, which few connections need."""
    of_context: Any = context
    return of_context._wrap_bio(incoming, outgoing, server_side=True)  # type: ignore[no-any-return]


def view_of(engine: Engine) -> ssl.SSLObject:
    """The standard library's view of an engine that `server_engine` made."""
    view: Any = ssl.SSLObject.__new__(ssl.SSLObject)
    view._sslobj = engine
    return view  # type: ignore[no-any-return]


def shake(engine: Engine) -> bool:
    """Go on with the handshake. True once it is over, False while it waits for octets. Raises `ssl.SSLError`."""
    try:
        engine.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def take_leave(engine: Engine) -> None:
    """Write a close_notify, if that can be done."""
    with suppress(ssl.SSLError):  # it asks for the other side's close_notify, but does not wait for it
        engine.shutdown()


def facts(engine: Engine) -> tuple[str, str, str, bool]:
    """Of a handshake that is over: the version of TLS, the suite, the protocol that was agreed on, and True if it went on from an earlier
    session. "" for what there is not."""
    cipher = engine.cipher()
    return engine.version() or "", cipher[0] if cipher else "", engine.selected_alpn_protocol() or "", bool(engine.session_reused)


def buffer_of(memory: ssl.MemoryBIO, engine: Engine) -> Buffer:
    """A buffer. memory: the standard library's view of it. engine: the one that it belongs to"""
    return memory


def shrink(buffer: Buffer) -> bool:
    """Give back the memory of a buffer that is empty. False if it has octets, or if it cannot be done."""
    library, memory = shrinker(), buffer
    return library is not None and library.shrink(memory)  # type: ignore[arg-type]
