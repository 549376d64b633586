"""Encoders of content codings: gzip (RFC 1952), br (RFC 7932), zstd (RFC 8878).

br and zstd collect 64 KiB and more before they compress, and then all of it in one call. So that no call takes long, their pieces are flushed
one by one. With pieces of 16 KiB this costs one per cent of the size.
"""

from __future__ import annotations

import sys
import zlib
from typing import Any, Protocol

import brotli

from .transform import Payload

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

try:
    from isal import isal_zlib
except ImportError:  # it is optional
    isal_zlib = None  # type: ignore[assignment]

__all__ = ["ENCODERS", "Encoder", "encoder"]

_GZIP = 31
"""zlib's name for a window of 32 KiB with the frame of gzip around it."""

_BR_WINDOW = 18
_ZSTD_WINDOW = 17
"""Powers of two, in octets. Larger windows cost memory for each response under way, and find little more in a text."""

_ISAL_MOST = 3
"""The highest level of isal. It is three to five times as fast as zlib at the same size; beyond this level zlib finds more."""


_IDLE: dict[int, list[zstd.ZstdCompressor]] = {}
_MOST_IDLE = 2
"""Compressors of a level that are kept."""


class Encoder(Protocol):
    """One response body. The calls are those of `terraster.wire.transform.Transform`."""

    def feed(self, payload: Payload) -> bytes: ...

    def flush(self) -> bytes: ...

    def end(self, payload: Payload) -> bytes: ...


class GzipEncoder:
    """gzip."""

    __slots__ = ("_made", "feed")

    def __init__(self, level: int) -> None:
        """level: 1..7"""
        if isal_zlib is not None and level <= _ISAL_MOST:
            self._made: Any = isal_zlib.compressobj(level, zlib.DEFLATED, _GZIP)
        else:
            self._made = zlib.compressobj(level, zlib.DEFLATED, _GZIP)
        self.feed = self._made.compress

    def flush(self) -> bytes:
        return self._made.flush(zlib.Z_SYNC_FLUSH)  # type: ignore[no-any-return]

    def end(self, payload: Payload) -> bytes:
        return self.feed(payload) + self._made.flush()  # type: ignore[no-any-return]


class BrotliEncoder:
    """br."""

    __slots__ = ("_made",)

    def __init__(self, level: int) -> None:
        """level: 1..7. Beyond that the first octet takes 7 ms."""
        self._made = brotli.Compressor(quality=level, lgwin=_BR_WINDOW)

    def feed(self, payload: Payload) -> bytes:
        return self._made.process(payload) + self._made.flush()  # type: ignore[no-any-return]

    def flush(self) -> bytes:
        return b""

    def end(self, payload: Payload) -> bytes:
        return self._made.process(payload) + self._made.finish()  # type: ignore[no-any-return]


class ZstdEncoder:
    """zstd. A compressor that has ended a frame can begin another one, so a few are kept: their memory, up to a megabyte, would otherwise be
    mapped and touched anew for each response, which costs more than to compress a page."""

    __slots__ = ("_idle", "_made")

    def __init__(self, level: int) -> None:
        """level: 1..7"""
        self._idle = idle = _IDLE.setdefault(level, [])
        if idle:
            self._made = idle.pop()
        else:
            parameters = zstd.CompressionParameter
            options: dict[int, int] = {parameters.compression_level: level, parameters.window_log: _ZSTD_WINDOW}
            self._made = zstd.ZstdCompressor(options=options)

    def feed(self, payload: Payload) -> bytes:
        return self._made.compress(payload, self._made.FLUSH_BLOCK)

    def flush(self) -> bytes:
        return b""

    def end(self, payload: Payload) -> bytes:
        out = self._made.compress(payload, self._made.FLUSH_FRAME)
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(self._made)
        return out


ENCODERS: dict[bytes, type[GzipEncoder] | type[BrotliEncoder] | type[ZstdEncoder]] = {
    b"zstd": ZstdEncoder,
    b"br": BrotliEncoder,
    b"gzip": GzipEncoder,
}
"""By the name of the coding, the preferred ones first."""


def encoder(coding: bytes, level: int) -> Encoder:
    """An encoder for one response."""
    return ENCODERS[coding](level)
