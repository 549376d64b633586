cimport cython

from .contract cimport Balancer, Member


cdef class RoundRobin(Balancer):
    cdef public list _turns
    cdef public Py_ssize_t _at, _seen
    cdef public list _places

    @cython.locals(turns=list, at=Py_ssize_t, left=Py_ssize_t, count=Py_ssize_t, member=Member)
    cpdef pick(self, exchange, tried, double now)
