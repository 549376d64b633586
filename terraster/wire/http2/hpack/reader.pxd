cimport cython

from . cimport huffman

cdef int _MOST_DIGITS, _LONGEST_KEPT


@cython.locals(octet=int, shift=int)
cpdef (Py_ssize_t, Py_ssize_t) _integer(bytes block, Py_ssize_t at, Py_ssize_t value)

@cython.locals(first=int, length=Py_ssize_t, end=Py_ssize_t, octets=bytes, text=bytes)
cdef tuple _string(bytes block, Py_ssize_t at)


cdef class Decoder:
    cdef public long long _limit, _list_size, _room, _size
    cdef public list _dynamic, _fields
    cdef public bytes _last

    cpdef list decode(self, bytes block)
    @cython.locals(
        fields=list, dynamic=list, limit="long long", at=Py_ssize_t, end=Py_ssize_t, total="long long", same=bint, first=int,
        index=Py_ssize_t, room="long long", most=Py_ssize_t, name=bytes, value=bytes, field=tuple,
    )
    cdef tuple _read(self, bytes block)
    cdef _evict(self)
