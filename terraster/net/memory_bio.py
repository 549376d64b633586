"""The memory of an empty `ssl.MemoryBIO`, given back.

A buffer of OpenSSL grows to the most that it ever held, and stays so. A connection that carried one large answer would keep 64 KiB or more
for as long as it is idle, four times what its engine takes. `ssl` has no way to shrink one, so the library does it that `ssl` is bound to
(`terraster.openssl`). Where a buffer is not as expected, or where the library cannot be reached, nothing is touched.

The compiled twin of `terraster.net.engine` has the pointers at hand, and does without this.
"""

from __future__ import annotations

import ctypes
import ssl
import sys
from typing import Any

from terraster.openssl import has_pointer, linked, pointer_in

__all__ = ["Shrinker", "shrinker"]

_PENDING, _SET_BUF_MEM = 10, 114  # BIO_CTRL_PENDING, BIO_C_SET_BUF_MEM
_MEMORY = 0x401  # BIO_TYPE_MEM
_OWNED = 1  # BIO_CLOSE


class Shrinker:
    """Shrinks buffers. Raises OSError, AttributeError or TypeError if the library cannot be reached."""

    __slots__ = ("_control", "_free", "_new", "_type")

    def __init__(self) -> None:
        if sys.implementation.name != "cpython":
            raise TypeError("another Python")
        if not has_pointer(ssl.MemoryBIO):
            raise TypeError("a MemoryBIO of another form")
        library = linked()
        self._control: Any = library.BIO_ctrl
        self._type: Any = library.BIO_method_type
        self._new: Any = library.BUF_MEM_new
        self._free: Any = library.BUF_MEM_free
        self._control.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p)
        self._control.restype = ctypes.c_long
        self._type.argtypes = (ctypes.c_void_p,)
        self._type.restype = ctypes.c_int
        self._new.argtypes = ()
        self._new.restype = ctypes.c_void_p
        self._free.argtypes = (ctypes.c_void_p,)
        self._free.restype = None
        probe = ssl.MemoryBIO()
        for octets in (b"", b"12345"):
            probe.write(octets)
            if not self._pointer(probe):
                raise TypeError("a MemoryBIO of another form")

    def shrink(self, buffer: ssl.MemoryBIO) -> bool:
        """Give back the memory of a buffer that has no octets. False if it has some, or if it cannot be done. The next octets make it grow
        again."""
        pointer = 0 if buffer.pending else self._pointer(buffer)
        if not pointer:
            return False
        empty = self._new()
        if empty and self._control(pointer, _SET_BUF_MEM, _OWNED, empty) != 1:
            self._free(empty)
            return False
        return bool(empty)

    def _pointer(self, buffer: ssl.MemoryBIO) -> int:
        """0: it is not as expected."""
        pointer = pointer_in(buffer)
        if not pointer or self._type(pointer) != _MEMORY:
            return 0
        return pointer if self._control(pointer, _PENDING, 0, None) == buffer.pending else 0


_found: list[Shrinker | None] = []


def shrinker() -> Shrinker | None:
    """The one of this process, None if the library cannot be reached. It is looked for once."""
    if not _found:
        try:
            _found.append(Shrinker())
        except (OSError, AttributeError, TypeError):
            _found.append(None)
    return _found[0]
