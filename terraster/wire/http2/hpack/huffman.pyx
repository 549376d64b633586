"""The compiled twin of huffman.py, with the same contract. The reader walks a tree of the codes bit by bit, a nanosecond each."""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from cpython.bytes cimport PyBytes_FromStringAndSize

from .code import CODES, END
from .errors import HpackError

__all__ = ["decode", "encode"]

cdef enum:
    NODES = 256  # of the tree, without its leaves: one fewer than there are symbols
    LEAF = 1024  # what a step leads to if it ends a symbol: this and the symbol
    SHORT = 512  # octets that are decoded on the C stack
    LAST = 256  # END, as a constant

cdef short _steps[NODES][2]
cdef bint _final[NODES]  # True where a string may end: fewer than eight bits were read, all of them ones
cdef unsigned int _codes[LAST]
cdef unsigned char _lengths[LAST]


cdef int _grow() except -1:
    """Make the tree and the table of the writer."""
    cdef int symbol, node, used = 1, depth
    cdef str code, bit
    assert END == LAST
    memset(_steps, 0, sizeof(_steps))
    memset(_final, 0, sizeof(_final))
    for symbol, code in enumerate(CODES):
        if symbol < LAST:
            _codes[symbol] = int(code, 2)
            _lengths[symbol] = len(code)
        node = 0
        for bit in code[:-1]:
            if not _steps[node][bit == "1"]:
                _steps[node][bit == "1"] = used
                used += 1
            node = _steps[node][bit == "1"]
        _steps[node][code[-1] == "1"] = LEAF + symbol
    assert used == NODES
    node = 0
    for depth in range(8):
        _final[node] = True
        node = _steps[node][1]
    return 0


_grow()


cdef Py_ssize_t _walk(const unsigned char *octets, Py_ssize_t size, unsigned char *into) except -1:
    """Write the symbols of a string, and return how many they are."""
    cdef int node = 0, shift
    cdef Py_ssize_t at, count = 0
    cdef unsigned char octet
    for at in range(size):
        octet = octets[at]
        for shift in range(7, -1, -1):
            node = _steps[node][octet >> shift & 1]
            if node >= LEAF:
                if node == LEAF + LAST:
                    raise HpackError("end of string within a string")
                into[count] = node - LEAF
                count += 1
                node = 0
    if not _final[node]:
        raise HpackError("malformed padding")
    return count


cpdef bytes decode(bytes octets):
    cdef unsigned char short_text[SHORT]
    cdef Py_ssize_t size = len(octets), most = size * 8 // 5
    cdef bytes text
    if most <= SHORT:
        size = _walk(octets, size, short_text)
        return (<char *>short_text)[:size]
    text = PyBytes_FromStringAndSize(NULL, most)
    size = _walk(octets, size, <unsigned char *><char *>text)
    return text[:size]


cpdef bytes encode(bytes string):
    cdef const unsigned char *symbols = string
    cdef Py_ssize_t size = len(string), at, bits = 0, count = 0
    cdef uint64_t held = 0
    cdef int left = 0
    cdef bytes octets
    cdef unsigned char *into
    for at in range(size):
        bits += _lengths[symbols[at]]
    octets = PyBytes_FromStringAndSize(NULL, (bits + 7) // 8)
    into = <unsigned char *><char *>octets
    for at in range(size):
        held = held << _lengths[symbols[at]] | _codes[symbols[at]]
        left += _lengths[symbols[at]]
        while left >= 8:
            left -= 8
            into[count] = held >> left & 255
            count += 1
    if left:
        into[count] = (held << (8 - left) | (255 >> left)) & 255
    return octets
