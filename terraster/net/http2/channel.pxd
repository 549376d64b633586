cimport cython

from terraster.wire.http2.streams cimport Stream
from .outlet cimport Outlet

cdef Py_ssize_t _APART


cdef class Channel(Stream):
    cdef object __weakref__
    cdef public Outlet session
    cdef public long long spent
    cdef public bint gone, _ended
    cdef public object reader, writer, trailers
    cdef public double read_deadline, write_deadline
    cdef public bytes _held
    cdef public list _more

    cpdef lost(self, bint reading)
    cpdef timed_out(self, bint writing)
    @cython.locals(more=list)
    cpdef took(self, bytes payload)
    cpdef took_all(self, trailers)
    cpdef wake(self)
    cpdef bytes recv(self, double timeout)
    cpdef _wait_for_octets(self, double timeout)
    @cython.locals(session=Outlet)
    cpdef long long room(self, double timeout) except? -1
    cpdef _wait_for_room(self, double timeout)
    @cython.locals(session=Outlet, sent="long long")
    cpdef write(self, payload, bint end, double timeout)
    cpdef finish(self, bytes block)
    cpdef double _deadline(self, double timeout) except? -1
    cpdef _rest(self)
