"""The writer of field blocks (RFC 7541). It has no state: it refers to the static table and never to a dynamic one.

So the octets of a field depend on the field alone. They are remembered for all connections, blocks are concatenations, and every
SETTINGS_HEADER_TABLE_SIZE of a peer is obeyed. A field that comes again costs a look-up, a third of the time of an encoder with a dynamic
table; it takes more octets on the wire (about 50 instead of 5 for a short head).

A field is written in Huffman code as soon as it is remembered: a value that comes once, as an ETag or a cookie does, is not worth it.
"""

from __future__ import annotations

from collections.abc import Iterable

from terraster.wire.memory import Memory

from . import huffman
from .static_table import NAMES, PAIRS

__all__ = ["WRITTEN", "encode", "field"]

_NEVER_INDEXED = frozenset((b"authorization", b"proxy-authorization", b"set-cookie"))
_SHORT_COOKIE = 20
"""A Cookie with fewer octets could be guessed by their number in a table: RFC 7541, section 7.1.3."""

_INDEXED, _WITHOUT_INDEXING, _NEVER = 128, 0, 16  # the first octet of a field: sections 6.1, 6.2.2, 6.2.3
_PLAIN, _HUFFMAN = 0, 128  # the first octet of a string: section 5.2

WRITTEN: Memory[tuple[bytes, bytes], bytes] = Memory(4096, 1 << 18)
"""Fields → their octets. They take at most some 2 MB."""


def encode(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The block of some (name, value) pairs; names are in lower case."""
    written = WRITTEN
    return b"".join([written.get(pair) or field(pair[0], pair[1]) for pair in fields])


def field(name: bytes, value: bytes) -> bytes:
    """The octets of one field. The name is in lower case."""
    pair = name, value
    octets = WRITTEN.get(pair)
    if octets is not None:
        return octets
    index = PAIRS.get(pair)
    if index is not None:
        octets = _integer(index, 7, _INDEXED)
    elif name in _NEVER_INDEXED or (name == b"cookie" and len(value) < _SHORT_COOKIE):
        return _literal(name, value, _NEVER, False)
    else:
        octets = _literal(name, value, _WITHOUT_INDEXING, False)
    if WRITTEN.learn(pair, octets, len(name) + len(value)) and index is None:
        WRITTEN[pair] = octets = _literal(name, value, _WITHOUT_INDEXING, True)
    return octets


def _literal(name: bytes, value: bytes, first: int, compress: bool) -> bytes:
    index = NAMES.get(name)
    if index is None:
        return bytes((first,)) + _string(name, compress) + _string(value, compress)
    return _integer(index, 4, first) + _string(value, compress)


def _string(string: bytes, compress: bool) -> bytes:
    if compress:
        short = huffman.encode(string)
        if len(short) < len(string):
            return _integer(len(short), 7, _HUFFMAN) + short
    return _integer(len(string), 7, _PLAIN) + string


def _integer(value: int, bits: int, first: int) -> bytes:
    """RFC 7541, section 5.1. bits: of the value in the first octet. first: the other bits of that octet."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first + value,))
    value -= most
    octets = [first + most]
    while value >= 128:
        octets.append(value % 128 + 128)
        value //= 128
    octets.append(value)
    return bytes(octets)
