cimport cython

from .channel cimport Channel

cdef int _LARGE_HEAD


cdef class Request(Channel):
    cdef public int code
    cdef public object connection, exchange, head, worker

    cpdef begin(self, bytes head, payload, double timeout)
    cpdef answer(self, bytes head, bytes body, double timeout, bint keep)
    cpdef release(self)
    cpdef watch(self)
    cpdef unwatch(self)
    cpdef end(self)
    cpdef leave(self)
