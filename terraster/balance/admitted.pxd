cimport cython

from ..state.view cimport SeatView


cdef class Admitted:
    cdef public list members, ramping, trials
    cdef public Py_ssize_t seen
    cdef public object _all
    cdef public SeatView _view

    @cython.locals(view=SeatView, q="unsigned long long[::1]", seen=Py_ssize_t)
    cpdef list look(self)
