cimport cython

from .connection cimport Connection
from .stream cimport getcurrent


cdef class Downstream:
    cdef public Connection connection
    cdef public object exchange, inlet, send, worker
    cdef public bint framed

    @cython.locals(keep=bint)
    cpdef answer(self, bytes head, bytes body, double timeout, bint keep)
    cpdef watch(self)
    cpdef end(self)
