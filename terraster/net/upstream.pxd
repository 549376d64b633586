cimport cython

from .duplex cimport Duplex
from .pool cimport Pool


cdef class _Ended:
    pass


cdef class Upstream(_Ended):
    cdef public Pool pool
    cdef public object client, header, phase, plain, quick_ack, recv, recv_into, send, stream
    cdef public bint doubtful, framed
    cdef public double since

    cpdef bint is_quiet(self) except -1
    @cython.locals(stream=Duplex)
    cpdef give_back(self, bint look)
