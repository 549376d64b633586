cimport cython

from .admitted cimport Admitted


cdef class Window:
    cdef public list places, _order, _spread
    cdef public Py_ssize_t renewed, _at, _second, _seen, _width
    cdef public bint _few
    cdef public dict _place
    cdef public Admitted _admitted

    cpdef Py_ssize_t place(self, member) except? -1
    @cython.locals(admitted=Admitted, order=list, found=list, at=Py_ssize_t, width=Py_ssize_t)
    cpdef list look(self, relieved)
    @cython.locals(step=Py_ssize_t, at=Py_ssize_t, count=Py_ssize_t)
    cpdef settle(self, list looked, Py_ssize_t place, Py_ssize_t second)
