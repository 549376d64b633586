"""A PNG of true colours as one with at most 256 of them, which takes a third of the octets (PNG, third edition, sections 7, 9 and 11).

Colours that are alike become one: the low bits of each are dropped until 256 are enough, and the commonest of those that became one stays.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter

__all__ = ["with_palette"]

_MARK = b"\x89PNG\r\n\x1a\n"
_TRUE_COLOURS = {2: 3, 6: 4}  # octets of a pixel by type of colour: RGB, RGBA
_MOST = 256


def with_palette(png: bytes) -> bytes:
    """The same picture, smaller. png: of 8 bits a channel, not interlaced, opaque"""
    width, height, pixels = _pixels(png)
    counts = Counter(pixels)
    for dropped in range(8):
        mask = 0xFF >> dropped << dropped
        groups: dict[tuple[int, ...], bytes] = {}
        for colour, _ in counts.most_common():
            groups.setdefault(tuple(channel & mask for channel in colour), colour)
        if len(groups) <= _MOST:
            break
    numbers = {key: number for number, key in enumerate(groups)}
    number_of = {colour: numbers[tuple(channel & mask for channel in colour)] for colour in counts}
    indexes = bytes(number_of[colour] for colour in pixels)
    lines = b"".join(b"\0" + indexes[at : at + width] for at in range(0, width * height, width))
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", head), (b"PLTE", b"".join(groups.values())), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return _MARK + b"".join(_chunk(kind, body) for kind, body in parts)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _pixels(png: bytes) -> tuple[int, int, list[bytes]]:
    assert png.startswith(_MARK)
    at, packed = len(_MARK), b""
    while at < len(png):
        size, kind = struct.unpack_from(">I4s", png, at)
        body = png[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colours, _, _, interlaced = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed += body
        at += 12 + size
    assert depth == 8 and not interlaced
    each = _TRUE_COLOURS[colours]
    octets = zlib.decompress(packed)
    found: list[bytes] = []
    above = bytes(width * each)
    for start in range(0, len(octets), width * each + 1):
        above = _line(octets[start], octets[start + 1 : start + 1 + width * each], above, each)
        found += [above[pixel : pixel + 3] for pixel in range(0, len(above), each)]
    return width, height, found


def _line(kind: int, filtered: bytes, above: bytes, each: int) -> bytes:
    """A line without its filter: each octet was written as its difference from a guess."""
    if kind == 0:
        return filtered
    line = bytearray(each + len(filtered))
    above = bytes(each) + above
    for at, octet in enumerate(filtered, each):
        left, up = line[at - each], above[at]
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = up
        elif kind == 3:
            guess = (left + up) // 2
        else:
            guess = _paeth(left, up, above[at - each])
        line[at] = (octet + guess) & 0xFF
    return bytes(line[each:])


def _paeth(left: int, up: int, corner: int) -> int:
    near = left + up - corner
    return min((left, up, corner), key=lambda one: abs(near - one))
