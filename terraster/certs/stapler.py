"""OCSP responses in handshakes (RFC 6066, section 8), given to OpenSSL itself, because Python's `ssl` has no call for it.

OpenSSL asks a callback of the context whether to send a response, and sends the one that the connection has. The callback is a function of
OpenSSL's own that answers 0, "yes", for every TLS connection (``SSL_is_dtls``), and the response is given to each connection before its
handshake. A callback in Python would need memory that is writable and executable. Where that is forbidden, as in the shipped unit, libffi
takes shared memory instead, which forked workers would overwrite for each other.

The pointer to an ``SSL`` is in the object behind an `ssl.SSLObject`, between a null and the pointer to its context. That is looked at before
each use. Where it is otherwise, nothing is touched (`Refused`).
"""

from __future__ import annotations

import ctypes
import ssl
from typing import Any

from terraster.openssl import linked

from . import libssl
from .libssl import Refused

__all__ = ["Stapler", "give_up", "stapler", "stapling_refusal"]

_SET_CALLBACK, _SET_RESPONSE, _GET_RESPONSE = 63, 71, 70  # SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB, …_OCSP_RESP, …GET…_OCSP_RESP
_WORD = ctypes.sizeof(ctypes.c_void_p)
_FORM = "a connection of this Python's ssl module has another form"


class Stapler:
    """Gives responses to the library that `ssl` is bound to. Raises `Refused`."""

    __slots__ = ("_context_of", "_control", "_copy", "_free", "_library", "_set_callback", "_yes")

    def __init__(self) -> None:
        library = libssl.openssl()
        if library is None:
            raise Refused(libssl.refusal())
        self._library = library
        try:
            found = linked()
            self._set_callback: Any = found.SSL_CTX_callback_ctrl
            self._control: Any = found.SSL_ctrl
            self._context_of: Any = found.SSL_get_SSL_CTX
            self._copy: Any = found.CRYPTO_memdup
            self._free: Any = found.CRYPTO_free
            self._yes = ctypes.cast(found.SSL_is_dtls, ctypes.c_void_p).value
        except AttributeError as error:
            raise Refused(str(error)) from error
        self._set_callback.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
        self._set_callback.restype = ctypes.c_long
        self._control.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p)
        self._control.restype = ctypes.c_long
        self._context_of.argtypes = (ctypes.c_void_p,)
        self._context_of.restype = ctypes.c_void_p
        self._copy.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_int)
        self._copy.restype = ctypes.c_void_p
        self._free.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)
        self._free.restype = None
        probe = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.prepare(probe)
        engine = probe.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
        self.give(engine, b"probe")
        kept = ctypes.c_void_p()
        if self._control(self._pointer(engine), _GET_RESPONSE, 0, ctypes.byref(kept)) != 5 or ctypes.string_at(kept, 5) != b"probe":
            raise Refused("OpenSSL does not keep OCSP responses")

    def prepare(self, context: ssl.SSLContext) -> None:
        """Clients of this context that ask for a response get that of their connection, if it has one. Raises `Refused`."""
        if self._set_callback(self._library.pointer(context), _SET_CALLBACK, self._yes) != 1:
            raise Refused("OpenSSL takes no callback for OCSP responses")

    def give(self, engine: ssl.SSLObject, response: bytes) -> None:
        """The response for a connection whose handshake has not begun. Raises `Refused`."""
        pointer = self._pointer(engine)
        copy = self._copy(response, len(response), b"", 0)  # OpenSSL frees it with the connection
        if not copy:
            raise MemoryError
        if self._control(pointer, _SET_RESPONSE, len(response), copy) != 1:
            self._free(copy, b"", 0)
            raise Refused("OpenSSL takes no OCSP response")

    def _pointer(self, engine: ssl.SSLObject) -> int:
        inner: Any = engine._sslobj  # type: ignore[attr-defined]
        begin = object.__basicsize__
        if type(inner).__basicsize__ < begin + 3 * _WORD:
            raise Refused(_FORM)
        at = id(inner) + begin
        null, pointer, context = (ctypes.c_void_p.from_address(at + number * _WORD).value for number in range(3))
        if null or not pointer or pointer % 8 or context != id(engine.context):
            raise Refused(_FORM)
        if self._context_of(pointer) != ctypes.c_void_p.from_address(context + begin).value:
            raise Refused(_FORM)
        return pointer


_found: list[Stapler | Refused] = []


def stapler() -> Stapler | None:
    """The stapler, None if the library cannot be reached. It is looked for once in a process."""
    found = _look()
    return None if isinstance(found, Refused) else found


def stapling_refusal() -> str:
    """Why no responses can be sent, "" if they can."""
    found = _look()
    return str(found) if isinstance(found, Refused) else ""


def give_up(refused: Refused) -> None:
    """Send no responses any longer in this process: the library refuses now what it took when it was tried."""
    _found[:] = [refused]


def _look() -> Stapler | Refused:
    if not _found:
        try:
            _found.append(Stapler())
        except Refused as refused:
            _found.append(refused)
    return _found[0]
