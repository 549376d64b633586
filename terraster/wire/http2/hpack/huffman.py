"""The Huffman code of HPACK (RFC 7541, section 5.2 and appendix B).

The code is canonical: shorter codes come before longer ones, and codes of one length are consecutive numbers in the order of their
symbols. So the lengths say it all.

The reader is an automaton that takes whole octets. A state is the part of a code that was read; a step leads from a state, by an octet,
to the next state, and gives the symbols that end in this octet. Steps are worked out when they are first needed: 65,536 steps at most,
which take some 8 MB if a client sends strings that need each one. Text needs about 2,000. A string of 19 octets takes 1.5 microseconds,
and 5.6 with the table of half octets in hpack 4.2 (CPython 3.11).
"""

from __future__ import annotations

from .errors import HpackError

__all__ = ["decode", "encode"]

_END = 256
"""The symbol that no string contains. The start of its code fills the last octet."""

_LENGTHS = """
13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28
28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28
6 10 10 12 13 6 8 11 10 10 8 11 8 6 6 6
5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10
13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7
7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6
15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5
6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28
20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23
24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24
22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23
21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23
26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25
19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27
20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23
26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26
30
"""
"""The length of the code of each octet in bits, 16 a line, and of the end of a string."""


def _codes() -> list[str]:
    """The code of each symbol, as a text of 0 and 1."""
    lengths = [int(length) for length in _LENGTHS.split()]
    codes = [""] * len(lengths)
    code, before = -1, 0
    for length, symbol in sorted([(length, symbol) for symbol, length in enumerate(lengths)]):
        code = (code + 1) << (length - before)
        before = length
        codes[symbol] = f"{code:0{length}b}"
    return codes


_CODES = _codes()
_SYMBOLS = {code: symbol for symbol, code in enumerate(_CODES)}


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
                if symbol == _END:
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
    codes = _CODES
    bits = "".join([codes[octet] for octet in string])
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""
