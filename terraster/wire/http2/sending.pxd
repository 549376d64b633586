cimport cython

from .octets cimport pack_head
from .streams cimport Lingering, Stream

cdef int CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, _WORTHWHILE
cdef long long MOST


cdef class Sending:
    cdef public list out
    cdef public dict streams, lingering
    cdef public long long last, window, frame, working, failed
    cdef public bint going
    cdef public str fault, exceeded
    cdef public object _limits, _closed
    cdef public bytes _prefix
    cdef public long long _give, _unread, _credit, _taken, _give_connection, _most_waiting, _remembered, _promised, _earned, _pings

    @cython.locals(size="long long", most="long long", at="long long")
    cpdef head(self, Stream stream, bytes block, bint end)
    @cython.locals(size="long long", given="long long", room="long long", most="long long", last=bint, at="long long", part="long long", out=list)
    cpdef long long data(self, Stream stream, data, bint end) except? -1
    cpdef consumed(self, Stream stream, long long octets)
    cpdef reset(self, Stream stream, int code)
    cdef _end(self, Stream stream)
    @cython.locals(number="long long")
    cdef _over(self, Stream stream)
    cdef _lost(self, Stream stream)
    cdef _rst(self, long long number, int code)
    cdef _release(self, Stream stream)
    cdef _replenish(self, Stream stream)
    @cython.locals(room="long long", octets="long long")
    cdef _replenish_connection(self)
