cimport cython

from . cimport huffman

cdef Py_ssize_t _SHORT_COOKIE
cdef int _INDEXED, _WITHOUT_INDEXING, _NEVER, _PLAIN, _HUFFMAN


cpdef bytes encode(fields)

@cython.locals(pair=tuple)
cpdef bytes field(bytes name, bytes value)

cdef bytes _literal(bytes name, bytes value, int first, bint compress)

@cython.locals(short=bytes)
cdef bytes _string(bytes string, bint compress)

@cython.locals(most="long long", octets=list)
cpdef bytes _integer(long long value, int bits, int first)
