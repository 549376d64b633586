cimport cython

from terraster.wire.http2.session cimport Session
from .channel cimport Channel

cdef long long BUFFER, _AT_ONCE, _VECTOR, _SHARE, _LITTLE, _BACKGROUND
cdef double _HOLD, _HOLD_AGAIN, _SWEEP
cdef int _FEW, _USUAL, _LEAST_URGENT


cdef class Outlet:
    cdef public bint blocked, _ended, _touched
    cdef public Session codec
    cdef public dict line
    cdef public set requests
    cdef public object plain, reactor, _hold, _run_callback, _stream
    cdef public double read_deadline, write_deadline, _held_since, _timeout
    cdef public int _most_urgent
    cdef public long long _payload, _queued

    cpdef _stalled(self)
    cpdef _flows(self)
    cpdef _over(self)
    cpdef _sweep(self, double now)
    cpdef touch(self)
    @cython.locals(now=double)
    cpdef opened(self, Channel channel)
    @cython.locals(urgency=int, count=Py_ssize_t)
    cpdef long long share(self, Channel channel) except -1
    cpdef wrote(self, Channel channel, long long octets, bint at_once)
    cpdef _turn(self)
    cpdef queue(self, Channel channel)
    cpdef _expect_window(self)
    @cython.locals(channel=Channel)
    cpdef _next(self)
    cpdef bint _holds(self, int urgency) except -1
    cpdef _drop_hold(self)
    cpdef _lose_patience(self)
    @cython.locals(out=list, data=bytes)
    cpdef flush(self)
    cdef bytes _send_pieces(self, list out)
    cpdef _wait_for_socket(self)
    cpdef _watch(self)
