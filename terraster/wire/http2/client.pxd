cimport cython

from .backend_fields cimport response_head
from .session cimport Session
from .streams cimport Stream

cdef int END_STREAM, ITSELF


cdef class ClientSession(Session):
    cdef public bint connect_protocol
    cdef public object _make
    cdef public long long _allowed, _most_streams

    @cython.locals(number="long long", stream=Stream)
    cpdef Stream open(self, bytes block, bytes method, bint end)
    @cython.locals(fields=list, stream=Stream)
    cdef _headers(self, long long number, int flags, bytes block, list events)
    cpdef done(self, Stream stream, int code=*)
    cdef _response(self, Stream stream, int flags, list fields, list events)
    cdef _trailers(self, Stream stream, int flags, list fields, list events)
    cdef _complete(self, Stream stream, trailers, list events)
    cdef _goaway(self, long long number, bytes payload, list events)
    cdef _set(self, int setting, long long value)
    cdef _priority_update(self, bytes payload)
