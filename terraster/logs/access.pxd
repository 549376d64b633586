cimport cython

from ..exchange cimport Exchange


@cython.final
cdef class AccessWriter:
    cdef object _keep, _outlets, _soon
    cdef Py_ssize_t _most

    @cython.locals(kept=Py_ssize_t)
    cpdef write(self, Exchange exchange)
