"""The OpenSSL that `ssl` is bound to, for what `ssl` does not offer, and where its objects keep the pointers of OpenSSL.

An object of CPython's `ssl` begins, behind the head of every object, with a pointer: a context with that to its ``SSL_CTX``, an
`ssl.MemoryBIO` with that to its ``BIO`` (CPython 3.11 to 3.14). Each user compares what the library reads through the pointer with what `ssl`
tells, and touches nothing where they differ.
"""

from __future__ import annotations

import _ssl
import ctypes

__all__ = ["has_pointer", "linked", "pointer_in"]

_WORD = ctypes.sizeof(ctypes.c_void_p)


def linked() -> ctypes.CDLL:
    """A handle of the library, whose functions have no types yet. A name is looked for in the libraries that it is linked with as well. Raises
    OSError, or AttributeError if `ssl` is not a library of its own."""
    return ctypes.CDLL(_ssl.__file__)


def has_pointer(kind: type) -> bool:
    """True if objects of a class of `ssl` are large enough for a pointer behind their head."""
    return kind.__basicsize__ >= object.__basicsize__ + _WORD


def pointer_in(thing: object) -> int:
    """The pointer behind the head of an object, 0 if it cannot be one. The object's class `has_pointer`."""
    pointer: int = ctypes.c_void_p.from_address(id(thing) + object.__basicsize__).value or 0
    return 0 if pointer % 8 else pointer
