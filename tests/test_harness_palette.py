"""Pictures with a palette: the same pixels where few colours are enough, and like ones where not."""

from __future__ import annotations

import struct
import zlib

import pytest

from .harness.palette import _chunk, _pixels, with_palette


def png(width: int, lines: list[tuple[int, bytes]], colours: int = 2) -> bytes:
    """A picture. lines: their filters, and their octets as they are filtered"""
    head = struct.pack(">IIBBBBB", width, len(lines), 8, colours, 0, 0, 0)
    octets = b"".join(bytes([kind]) + line for kind, line in lines)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", head)
        + _chunk(b"IDAT", zlib.compress(octets)[:5])
        + _chunk(b"IDAT", zlib.compress(octets)[5:])
        + _chunk(b"IEND", b"")
    )


def colours(picture: bytes) -> list[bytes]:
    """The pixels of a picture with a palette."""
    assert picture[25] == 3
    size = struct.unpack_from(">I", picture, 33)[0]
    palette = picture[41 : 41 + size]
    at = 41 + size + 4
    length, width = struct.unpack_from(">I", picture, at)[0], struct.unpack_from(">I", picture, 16)[0]
    lines = zlib.decompress(picture[at + 8 : at + 8 + length])
    found = [lines[start + 1 : start + 1 + width] for start in range(0, len(lines), width + 1)]
    return [palette[3 * number : 3 * number + 3] for line in found for number in line]


@pytest.mark.parametrize(
    ("kind", "second"),
    [(0, b"\1\2\3\5\5\5"), (1, b"\1\2\3\4\3\2"), (2, b"\xf7\xe4\xd1\xdd\xd3\xc9"), (3, b"\xfc\xf3\xea\xf1\xeb\xe6")],
    ids=["none", "sub", "up", "average"],
)
def test_filters_are_undone(kind, second) -> None:
    first = b"\x0a\x1e\x32\x28\x32\x3c"
    assert _pixels(png(2, [(0, first), (kind, second)]))[2][2:] == [b"\1\2\3", b"\5\5\5"]


def test_the_guess_of_paeth_is_the_nearest_neighbour() -> None:
    assert _pixels(png(2, [(0, b"\x0a\x0a\x0a\x14\x14\x14"), (4, b"\x02\x02\x02\x01\x01\x01")]))[2][2:] == [
        b"\x0c" * 3,
        b"\x15" * 3,
    ]


def test_few_colours_stay_as_they_are() -> None:
    lines = [(0, bytes((row, column, 7)) * 1) for row in range(2) for column in range(100)]
    picture = png(1, lines)
    assert colours(with_palette(picture)) == _pixels(picture)[2]


def test_many_colours_become_like_ones_and_the_commonest_stays() -> None:
    lines = [(0, bytes((red, green, 0, 255))) for red in range(0, 256, 4) for green in range(0, 256, 4)] + [
        (0, b"\x11\x22\0\xff")
    ] * 500
    picture = png(1, lines, 6)
    found = colours(with_palette(picture))
    assert len(set(found)) <= 256 and found[-1] == b"\x11\x22\0"
    assert all(
        abs(one - other) < 64
        for old, new in zip(_pixels(picture)[2], found, strict=True)
        for one, other in zip(old, new, strict=True)
    )
    assert len(with_palette(picture)) < 4000
