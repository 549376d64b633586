cimport cython

from .hpack.reader cimport Decoder
from .octets cimport unpack_head
from .receiving cimport Receiving

cdef int ACK, CONTINUATION, DATA, END_HEADERS, HEADERS, SETTINGS, WINDOW_UPDATE, _PADDED_OR_PRIORITY
cdef long long MOST


cdef class Session(Receiving):
    cdef public Decoder _decoder
    cdef public bytes _held, _preface
    cdef public double _held_since

    @cython.locals(
        events=list, at=Py_ssize_t, size=Py_ssize_t, begin=Py_ssize_t, end=Py_ssize_t, length=Py_ssize_t, most=Py_ssize_t,
        first="long long", flags=int, number="long long", kind=int, block=bytes,
    )
    cpdef list feed(self, bytes data, double now)
    cdef list _fields_of(self, bytes block)
    cpdef list sweep(self, double now)
    cdef _check_order(self, int kind, int flags, long long number)
