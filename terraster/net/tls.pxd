cimport cython

from .engine cimport shake, shrink
from .tls_channel cimport TlsChannel

cdef Py_ssize_t LARGE, READ_SIZE
cdef bint _CHEAP


cdef class TlsStream(TlsChannel):
    cdef bint _begin(self, keys, names) except -1
    cdef _follow_from(self, received)
    cdef bint _shake(self) except -1
    @cython.locals(waited=bint, data=bytes)
    cdef bint _flush(self, double timeout) except -1
    cdef double _rest_of(self, double timeout) except? -1
    @cython.locals(data=bytes)
    cdef bytes _fill(self, double timeout)
    @cython.locals(ahead=bytes, data=bytes, filled=bint, wait=double, until=double)
    cpdef bytes recv(self, double timeout, Py_ssize_t size=*)
    @cython.locals(left=double)
    cdef double _left(self, double timeout, double until) except? -1
