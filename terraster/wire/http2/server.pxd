cimport cython

from .fields cimport request_head
from .session cimport Session
from .streams cimport Lingering, Stream

cdef int END_STREAM, ITSELF


cdef class ServerSession(Session):
    cdef public object _make
    cdef public dict _early
    cdef public list _fields
    cdef public long long _heads
    cdef public tuple _priority_of_fields

    @cython.locals(
        fields=list, end=int, expected="long long", connect=bint, size="long long", stream=Stream,
    )
    cdef _headers(self, long long number, int flags, bytes block, list events)
    cpdef done(self, Stream stream, int code)
    @cython.locals(octets="long long")
    cdef _linger(self, Stream stream)
    cdef _send_back(self, long long number)
    @cython.locals(stream=Stream)
    cdef _trailers(self, long long number, int flags, list fields, list events)
    cdef _set(self, int setting, long long value)
    cdef _priority_update(self, bytes payload)
