cimport cython

from ..policy.keepalive cimport KeepAlive
from ..state.view cimport SeatView
from .stream cimport Stream
from .upstream cimport Upstream

cdef Py_ssize_t _MAX_IDLE
cdef double _NEVER


cdef class Pool:
    cdef public dict idle
    cdef public bint closed, _exact
    cdef public object limits, reactor, clock, _looks
    cdef public KeepAlive keepalive
    cdef public Py_ssize_t _broken, _shown, _offset, _max_open
    cdef public double _fresh_until
    cdef public SeatView _view

    @cython.locals(upstream=Upstream)
    cpdef take(self, exchange, bint look)
    cpdef bint _once(self) except -1
    @cython.locals(plain=Stream)
    cpdef keep(self, Upstream upstream)
    cpdef _rest(self, upstream)
