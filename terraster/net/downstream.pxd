cimport cython

from .connection cimport Connection
from .duplex cimport Duplex
from .stream cimport getcurrent


cdef class Downstream:
    cdef public Connection connection
    cdef public object exchange, inlet, send, worker
    cdef public bint framed

    @cython.locals(stream=Duplex)
    cpdef answer(self, bytes head, bytes body, double timeout, bint keep)
    cpdef watch(self)
    cpdef end(self)
