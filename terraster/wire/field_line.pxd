# cython: language_level=3
"""Field lines that are plainly in order (RFC 9112, section 5), for the compiled modules of this room.

Each function may read the octet behind the last one: a bytes object has a NUL there, which ends every name and every value.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy


cdef extern from *:
    """
    /* Octets of a token (RFC 9110, section 5.6.2) in lower case, 0 for all others. */
    #define TERRASTER_SAME(octet) [octet] = octet
    #define TERRASTER_LOWER(letter) [letter] = letter, [letter - 32] = letter
    #define TERRASTER_TOKEN \\
        TERRASTER_SAME('!'), TERRASTER_SAME('#'), TERRASTER_SAME('$'), TERRASTER_SAME('%'), TERRASTER_SAME('&'), TERRASTER_SAME('\\''), \\
        TERRASTER_SAME('*'), TERRASTER_SAME('+'), TERRASTER_SAME('-'), TERRASTER_SAME('.'), TERRASTER_SAME('^'), TERRASTER_SAME('`'), \\
        TERRASTER_SAME('|'), TERRASTER_SAME('~'), TERRASTER_SAME('0'), TERRASTER_SAME('1'), TERRASTER_SAME('2'), TERRASTER_SAME('3'), \\
        TERRASTER_SAME('4'), TERRASTER_SAME('5'), TERRASTER_SAME('6'), TERRASTER_SAME('7'), TERRASTER_SAME('8'), TERRASTER_SAME('9'), \\
        TERRASTER_LOWER('a'), TERRASTER_LOWER('b'), TERRASTER_LOWER('c'), TERRASTER_LOWER('d'), TERRASTER_LOWER('e'), \\
        TERRASTER_LOWER('f'), TERRASTER_LOWER('g'), TERRASTER_LOWER('h'), TERRASTER_LOWER('i'), TERRASTER_LOWER('j'), \\
        TERRASTER_LOWER('k'), TERRASTER_LOWER('l'), TERRASTER_LOWER('m'), TERRASTER_LOWER('n'), TERRASTER_LOWER('o'), \\
        TERRASTER_LOWER('p'), TERRASTER_LOWER('q'), TERRASTER_LOWER('r'), TERRASTER_LOWER('s'), TERRASTER_LOWER('t'), \\
        TERRASTER_LOWER('u'), TERRASTER_LOWER('v'), TERRASTER_LOWER('w'), TERRASTER_LOWER('x'), TERRASTER_LOWER('y'), TERRASTER_LOWER('z')
    static const unsigned char terraster_token[256] __attribute__((unused)) = {TERRASTER_TOKEN, TERRASTER_SAME('_')};
    static const unsigned char terraster_dashed[256] __attribute__((unused)) = {TERRASTER_TOKEN};
    """
    const unsigned char* TOKEN "terraster_token"
    const unsigned char* DASHED "terraster_dashed"  # without "_"


cdef enum:
    SHORT = 32  # octets of a name that are kept in lower case

cdef struct Line:
    const unsigned char* name
    const unsigned char* value
    const unsigned char* next  # the octet behind the CRLF
    Py_ssize_t name_size
    Py_ssize_t value_size
    unsigned char[SHORT] lower  # the name in lower case, as far as it fits


cdef inline const unsigned char* span(const unsigned char* at, const unsigned char* end, unsigned char least) noexcept nogil:
    """The first octet that is below ``least`` or DEL. least: 32 or 33"""
    cdef uint64_t ones = 0x0101010101010101
    cdef uint64_t word, other
    while end - at >= 8:  # eight octets at once: is one of them below `least`, or equal to 127?
        memcpy(&word, at, 8)
        other = word ^ (ones * 127)
        if (((word - ones * least) & ~word) | ((other - ones) & ~other)) & (ones * 128):
            break
        at += 8
    while at < end and at[0] >= least and at[0] != 127:
        at += 1
    return at


cdef inline bint read_line(const unsigned char* at, const unsigned char* end, const unsigned char* octets, Line* line) noexcept nogil:
    """True if a field line in order begins here. octets: `TOKEN` or `DASHED`, those of its name"""
    cdef const unsigned char* begin = at
    cdef unsigned char octet = octets[at[0]]
    while octet:
        if at - begin < SHORT:
            line.lower[at - begin] = octet
        at += 1
        octet = octets[at[0]]
    if at[0] != c":" or at == begin:
        return False
    line.name = begin
    line.name_size = at - begin
    at += 1
    while at[0] == c" " or at[0] == c"\t":
        at += 1
    line.value = at
    at = span(at, end, 32)
    while at[0] == c"\t":
        at = span(at + 1, end, 32)
    if at[0] != c"\r" or at[1] != c"\n":
        return False
    line.next = at + 2
    while at > line.value and (at[-1] == c" " or at[-1] == c"\t"):
        at -= 1
    line.value_size = at - line.value
    return True
