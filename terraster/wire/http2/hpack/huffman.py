"""Strings in the Huffman code of HPACK (RFC 7541, section 5.2).

The reader is an automaton that takes whole octets. A state is the part of a code that was read; a step leads from a state, by an octet,
to the next state, and gives the symbols that end in this octet. Steps are worked out when they are first needed: 65,536 steps at most,
which take some 8 MB if a client sends strings that need each one. Text needs about 2,000. A string of 19 octets takes 1.5 microseconds,
and 5.6 with the table of half octets in hpack 4.2 (CPython 3.11).

huffman.pyx is the compiled twin.
"""

from __future__ import annotations

from .code import CODES, END
from .errors import HpackError

__all__ = ["decode", "encode"]

_SYMBOLS = {code: symbol for symbol, code in enumerate(CODES)}


class _State(dict[int, tuple["_State", bytes]]):
    """Octet → the next state, and the symbols that end in this octet. read: the bits of a code that were read. final: True if a string
    may end here: what is left over is padding."""

    __slots__ = ("final", "read")

    def __init__(self, read: str) -> None:
        super().__init__()
        self.read = read
        self.final = len(read) < 8 and "0" not in read

    def __missing__(self, octet: int) -> tuple[_State, bytes]:
        read, symbols = self.read, bytearray()
        for bit in f"{octet:08b}":
            read += bit
            symbol = _SYMBOLS.get(read)
            if symbol is not None:
                if symbol == END:
                    raise HpackError("end of string within a string")
                symbols.append(symbol)
                read = ""
        state = _STATES.get(read)
        if state is None:
            state = _STATES[read] = _State(read)
        step = self[octet] = state, bytes(symbols)
        return step


_START = _State("")
_STATES = {"": _START}


def decode(octets: bytes) -> bytes:
    """The string. Raises `HpackError` for padding that is longer than 7 bits or not of ones, and for an end within the string."""
    state, parts = _START, []
    for octet in octets:
        state, symbols = state[octet]
        parts.append(symbols)
    if not state.final:
        raise HpackError("malformed padding")
    return b"".join(parts)


def encode(string: bytes) -> bytes:
    """The octets of a string."""
    codes = CODES
    bits = "".join([codes[octet] for octet in string])
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""
