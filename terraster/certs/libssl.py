"""What `ssl` of the standard library does not offer, done by the library that it is bound to: keys of session tickets, who may resume, the
length of chains, the authorities that clients are told, the suites of TLS 1.3, and the groups for the key exchange.

The pointer to the ``SSL_CTX`` of a context (`terraster.openssl`) was tried with Debian's 3.11.2, 3.13.5 and 3.14.10, and 3.12.1 (OpenSSL 3.0,
3.5 and 3.6). Where the pointer is not as expected, or where the library cannot be reached, nothing is touched (`Refused`).
"""

from __future__ import annotations

import _ssl
import ctypes
import ssl
import sys
from typing import Any

from terraster.errors import TerrasterError
from terraster.openssl import has_pointer, linked, pointer_in

__all__ = ["KEY_SIZE", "Libssl", "Refused", "openssl", "refusal"]

KEY_SIZE = 80
"""Octets of the keys of session tickets: 16 of their name, 32 for HMAC-SHA-256, 32 for AES-256."""

_MODE, _SESS_CACHE_MODE, _TICKET_KEYS, _GROUPS = (
    33,
    44,
    59,
    92,
)  # SSL_CTRL_MODE, …_SET_SESS_CACHE_MODE, …_TLSEXT_TICKET_KEYS, …_GROUPS_LIST
_NO_AUTO_CHAIN = 8  # SSL_MODE_NO_AUTO_CHAIN
_MOST_IN_ID = 32  # SSL_MAX_SID_CTX_LENGTH
_OPTIONS = 0xFFFFFFFF  # those that `ssl` tells on every version


class Refused(TerrasterError):
    """The library cannot be reached from here. The text says why."""


class Libssl:
    """The library that `ssl` is bound to. Raises `Refused`."""

    __slots__ = ("_clear_errors", "_control", "_names_in", "_options", "_set_depth", "_set_id", "_set_names", "_set_suites")

    def __init__(self) -> None:
        if sys.implementation.name != "cpython" or not getattr(_ssl, "__file__", ""):
            raise Refused("the ssl module of this Python is not a library of its own")
        if not has_pointer(ssl.SSLContext):
            raise Refused("a context of this Python's ssl module has another form")
        try:
            found = linked()
            self._control: Any = found.SSL_CTX_ctrl
            self._clear_errors: Any = found.ERR_clear_error
            self._options: Any = found.SSL_CTX_get_options
            self._set_id: Any = found.SSL_CTX_set_session_id_context
            self._set_depth: Any = found.SSL_CTX_set_verify_depth
            self._set_suites: Any = found.SSL_CTX_set_ciphersuites
            self._names_in: Any = found.SSL_load_client_CA_file
            self._set_names: Any = found.SSL_CTX_set_client_CA_list
        except (OSError, AttributeError) as error:
            raise Refused(str(error)) from error
        self._clear_errors.argtypes, self._clear_errors.restype = (), None
        self._control.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p)
        self._control.restype = ctypes.c_long
        self._options.argtypes = (ctypes.c_void_p,)
        self._options.restype = ctypes.c_uint64
        self._set_id.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint)
        self._set_id.restype = ctypes.c_int
        self._set_depth.argtypes = (ctypes.c_void_p, ctypes.c_int)
        self._set_depth.restype = None
        self._set_suites.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
        self._set_suites.restype = ctypes.c_int
        self._names_in.argtypes = (ctypes.c_char_p,)
        self._names_in.restype = ctypes.c_void_p
        self._set_names.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        self._set_names.restype = None
        probe = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for option in (ssl.OP_NO_TICKET, ssl.OP_NO_RENEGOTIATION):
            probe.options ^= option
            self.pointer(probe)
        if self._control(self.pointer(probe), _TICKET_KEYS, 0, None) != KEY_SIZE:
            raise Refused("this version of OpenSSL has ticket keys of another size")

    def set_ticket_keys(self, context: ssl.SSLContext, keys: bytes) -> None:
        """Tickets are written and read with these keys from now on. keys: `KEY_SIZE` octets. Raises `Refused`."""
        if not self._took(self._control(self.pointer(context), _TICKET_KEYS, len(keys), keys)):
            raise Refused("OpenSSL does not take ticket keys")

    def set_session_id_context(self, context: ssl.SSLContext, name: bytes) -> None:
        """Resume only sessions that began in a context of this name, at most 32 octets. Raises `Refused`."""
        if not name or len(name) > _MOST_IN_ID or not self._took(self._set_id(self.pointer(context), name, len(name))):
            raise Refused("OpenSSL does not take a session id context")

    def set_verify_depth(self, context: ssl.SSLContext, depth: int) -> None:
        """Accept at most so many certificates between a peer's own and the authority that is trusted. Raises `Refused`."""
        self._set_depth(self.pointer(context), depth)

    def name_authorities(self, context: ssl.SSLContext, file: str) -> None:
        """Tell clients that are asked for a certificate the names of these authorities. file: PEM. Raises `Refused`."""
        pointer = self.pointer(context)
        names = self._names_in(file.encode())
        if not names:
            self._clear_errors()
            raise Refused("OpenSSL finds no names of authorities")
        self._set_names(pointer, names)  # which the context frees

    def keep_no_sessions(self, context: ssl.SSLContext) -> None:
        """Keep no sessions in this process, from which clients of TLS 1.2 resume even without tickets. Raises `Refused`."""
        self._control(self.pointer(context), _SESS_CACHE_MODE, 0, None)

    def send_given_chain(self, context: ssl.SSLContext) -> None:
        """Send the certificates of the file and no others. Otherwise the library looks for the issuer of a certificate without a chain at
        each handshake, also among the authorities of clients. Raises `Refused`."""
        self._control(self.pointer(context), _MODE, _NO_AUTO_CHAIN, None)

    def set_suites(self, context: ssl.SSLContext, suites: tuple[str, ...]) -> bool:
        """Use these suites of TLS 1.3 only, best first. False if the library lacks one of them. Raises `Refused`."""
        return self._took(self._set_suites(self.pointer(context), ":".join(suites).encode()))

    def set_groups(self, context: ssl.SSLContext, groups: tuple[str, ...]) -> bool:
        """Exchange keys over these groups only, best first (the names of OpenSSL). False if the library lacks one of them. Raises
        `Refused`."""
        return self._took(self._control(self.pointer(context), _GROUPS, 0, ":".join(groups).encode()))

    def _took(self, result: int) -> bool:
        """True if the library did it. Else its errors are cleared: `ssl` would take them for those of the next connection."""
        if result == 1:
            return True
        self._clear_errors()
        return False

    def pointer(self, context: ssl.SSLContext) -> int:
        """The ``SSL_CTX`` of a context. Raises `Refused`."""
        pointer = pointer_in(context)
        if not pointer or (self._options(pointer) ^ int(context.options)) & _OPTIONS:
            raise Refused("a context of this Python's ssl module has another form")
        return pointer


_found: list[Libssl | Refused] = []


def openssl() -> Libssl | None:
    """The library, None if it cannot be reached. It is looked for once in a process."""
    found = _look()
    return None if isinstance(found, Refused) else found


def refusal() -> str:
    """Why the library cannot be reached, "" if it can."""
    found = _look()
    return str(found) if isinstance(found, Refused) else ""


def _look() -> Libssl | Refused:
    if not _found:
        try:
            _found.append(Libssl())
        except Refused as refused:
            _found.append(refused)
    return _found[0]
