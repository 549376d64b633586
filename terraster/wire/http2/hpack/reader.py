"""The reader of field blocks (RFC 7541, sections 3 and 6). It is strict, and it is all the state that a connection has for HPACK.

A usual block has one octet for each field, so the loop is written for those: with 17 fields of a browser it takes 2 microseconds. Strings
in Huffman code are remembered for all connections, because most of them come again with each new connection.
"""

from __future__ import annotations

from terraster.wire.memory import Memory

from . import huffman
from .errors import HpackError, Oversized
from .static_table import ENTRIES, Field, entry_size

__all__ = ["Decoder"]

_FIRST_SIZE = 4096
"""The size of the dynamic table before any setting, octets: RFC 9113, section 6.5.2."""

_MOST_DIGITS = 4
"""Octets behind the first one of an integer. 28 bits are more than any string, index or table needs here."""

_LONGEST_KEPT = 1024
"""Most octets of a block that is kept for the next one."""

_TEXTS: Memory[bytes, bytes] = Memory(2048, 1 << 17)
"""Strings in Huffman code → the strings. They take at most some 600 kB."""

_ENTRIES: Memory[Field, Field] = Memory(4096, 1 << 18)
"""Entries of dynamic tables, shared by connections, because clients have the same ones: a browser's table takes 0.4 kB instead of 3.1. They
take at most some 1 MB themselves."""


class Decoder:
    """The reader of one connection. Blocks must be given to it in the order in which they arrived, each exactly once."""

    __slots__ = ("_dynamic", "_fields", "_last", "_limit", "_list_size", "_room", "_size")

    def __init__(self, list_size: int, table_size: int = _FIRST_SIZE) -> None:
        """list_size: limit of a list of fields, as SETTINGS_MAX_HEADER_LIST_SIZE counts: name, value and 32 for each. table_size: the
        SETTINGS_HEADER_TABLE_SIZE that the peer is told; with less than 4,096, the peer may be refused until it knows that."""
        self._list_size = list_size
        self._limit = table_size
        self._room = min(table_size, _FIRST_SIZE)
        self._size = 0
        self._dynamic: list[Field] = []  # the newest is the last one; at most one for each 32 octets of room
        self._last: bytes | None = None
        self._fields: list[Field] = []

    def decode(self, block: bytes) -> list[Field]:
        """The fields of a block, as (name, value, size). The list may be given again for the next block, so it must not be changed.

        Raises `HpackError` if the block is malformed; the connection must end then. Raises `Oversized` if the list is larger than the
        limit; the table is right afterwards.
        """
        if block == self._last:
            return self._fields
        try:
            fields, total, same = self._read(block)
        except IndexError:  # behind the last octet, or behind the oldest entry
            raise HpackError("block cut off, or no entry of this index") from None
        if total > self._list_size:
            self._last = None
            raise Oversized(fields)
        if same and len(block) <= _LONGEST_KEPT:
            self._last, self._fields = block, fields
        else:
            self._last = None
        return fields

    def _read(self, block: bytes) -> tuple[list[Field], int, bool]:
        """The fields before the limit; the size of all; True if the table is as before."""
        fields: list[Field] = []
        dynamic, entries, limit = self._dynamic, ENTRIES, self._list_size
        at, end, total, same = 0, len(block), 0, True
        while at < end:
            first = block[at]
            at += 1
            if first >= 128:  # section 6.1: a field of a table
                if first > 189:
                    if first < 255:
                        field = dynamic[189 - first]
                    else:
                        index, at = _integer(block, at, 127)
                        field = dynamic[61 - index]
                elif first > 128:
                    field = entries[first - 128]
                else:
                    raise HpackError("index 0")
            elif 32 <= first < 64:  # section 6.3: the size of the table
                if total:
                    raise HpackError("table size behind a field")
                room = first - 32
                if room == 31:
                    room, at = _integer(block, at, 31)
                if room > self._limit:
                    raise HpackError("table size above the limit")
                self._room = room
                self._evict()
                same = False
                continue
            else:  # section 6.2: a name of a table or a new one, and a value
                most = 63 if first >= 64 else 15
                index = first & most
                if index == most:
                    index, at = _integer(block, at, most)
                if not index:
                    name, at = _string(block, at)
                elif index < 62:
                    name = entries[index][0]
                else:
                    name = dynamic[61 - index][0]
                value, at = _string(block, at)
                field = name, value, entry_size(name, value)
                if first >= 64:
                    shared = _ENTRIES.get(field)
                    if shared is None:
                        _ENTRIES.learn(field, field, field[2])
                    else:
                        field = shared
                    same = False
                    dynamic.append(field)
                    self._size += field[2]
                    if self._size > self._room:
                        self._evict()
            total += field[2]
            if total <= limit:
                fields.append(field)
        return fields, total, same

    def _evict(self) -> None:
        """Remove the oldest entries until the others have room. An entry that is larger than the table empties it: section 4.4."""
        dynamic = self._dynamic
        while self._size > self._room:
            self._size -= dynamic.pop(0)[2]


def _integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """(an integer, where it ends). value: of the bits in its first octet. at: behind that octet. RFC 7541, section 5.1."""
    for shift in range(0, 7 * _MOST_DIGITS, 7):
        octet = block[at]
        at += 1
        value += (octet & 127) << shift
        if octet < 128:
            return value, at
    raise HpackError("integer too large")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """(a string, where it ends). RFC 7541, section 5.2."""
    first = block[at]
    at += 1
    length = first & 127
    if length == 127:
        length, at = _integer(block, at, 127)
    end = at + length
    if end > len(block):
        raise HpackError("string cut off")
    octets = block[at:end]
    if first < 128:
        return octets, end
    text = _TEXTS.get(octets)
    if text is None:
        text = huffman.decode(octets)
        _TEXTS.learn(octets, text, length)
    return text, end
