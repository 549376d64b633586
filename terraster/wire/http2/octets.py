"""The nine octets in front of each frame, read and written. octets.pyx is the compiled twin."""

from __future__ import annotations

from .frames import HEAD

__all__ = ["pack_head", "unpack_head"]

pack_head = HEAD.pack
"""The head of a frame by (length * 256 + kind, flags, stream number)."""

unpack_head = HEAD.unpack_from
"""(length * 256 + kind, flags, stream number) of the head that begins at a place in some octets, which must have nine from there on."""
