cimport cython

from .sending cimport Sending
from .streams cimport Lingering, Stream

cdef int DATA_EVENT, END, END_STREAM, PADDED, ROOM, _MOST_EARNED
cdef long long MOST


cdef class Receiving(Sending):
    cdef public double awaiting, _now
    cdef public object _bounds
    cdef public bint _settled
    cdef public list _block
    cdef public long long _initial, _first_credit, _most_block, _peer_last, _on_its_way

    cdef _headers(self, long long number, int flags, bytes block, list events)
    cdef _set(self, int setting, long long value)
    cdef _priority_update(self, bytes payload)
    @cython.locals(length="long long", size="long long", end=int, stream=Stream)
    cdef _data(self, long long number, int flags, bytes payload, list events)
    @cython.locals(lingering=Lingering)
    cdef _swallow(self, Stream stream, long long octets, int end)
    cdef _complete(self, Stream stream, trailers, list events)
    @cython.locals(more="long long", before="long long", stream=Stream)
    cdef _window_update(self, long long number, bytes payload, list events)
    @cython.locals(before="long long")
    cdef _widen(self, Stream stream, long long more, list events)
    cdef _rare(self, int kind, long long number, int flags, bytes payload, list events)
    cdef _settings(self, long long number, int flags, bytes payload, list events)
    cdef _acknowledged(self)
    cdef _initial_window(self, long long value, list events)
    @cython.locals(stream=Stream)
    cdef _rst_stream(self, long long number, bytes payload, list events)
    cdef _ping(self, long long number, int flags, bytes payload, list events)
    cdef _continuation(self, long long number, int flags, bytes payload, list events)
    cdef _priority(self, long long number, bytes payload, list events)
    cdef _goaway(self, long long number, bytes payload, list events)
    cdef _check_idle(self, long long number, str what)
    @cython.locals(earned="long long")
    cdef _small(self, str name)
    cdef _late(self)
    cdef _drop(self, Stream stream, int code, list events)
    cdef _refuse(self, long long number, int code)
