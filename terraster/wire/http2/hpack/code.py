"""The Huffman code of HPACK (RFC 7541, appendix B).

The code is canonical: shorter codes come before longer ones, and codes of one length are consecutive numbers in the order of their
symbols. So the lengths say it all.
"""

from __future__ import annotations

__all__ = ["CODES", "END"]

END = 256
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


CODES = _codes()
"""The code of each symbol, as a text of 0 and 1."""
