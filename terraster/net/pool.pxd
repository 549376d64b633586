cimport cython

from ..state.view cimport SeatView
from .upstream cimport Upstream


cdef class Pool:
    cdef public dict idle
    cdef public bint closed, _exact
    cdef public object limits, keepalive, reactor, _looks
    cdef public Py_ssize_t _broken, _shown, _offset
    cdef public double _fresh_until
    cdef public SeatView _view

    @cython.locals(upstream=Upstream)
    cpdef take(self, exchange, bint look)
    cpdef bint _once(self) except -1
    cpdef keep(self, Upstream upstream)
    cpdef _rest(self, upstream)
