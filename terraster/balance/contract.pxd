cimport cython

from ..state.fence cimport fence
from ..state.view cimport SeatView

cdef Py_ssize_t _ACTIVE, _TRIALS
cdef unsigned long long _ALL, _TRIAL, _RAMPING
cdef long long _WHOLE


cdef class Member:
    cdef public object backend, weight
    cdef public str id
    cdef public bint http2
    cdef public SeatView view
    cdef public Py_ssize_t slot, admit_at, offset, streak, _cells
    cdef public long long max_connections, _ramped

    cpdef bint is_up(self) except -1
    @cython.locals(q="unsigned long long[::1]", view=SeatView, at=Py_ssize_t, row=Py_ssize_t, total=cython.longlong)
    cpdef long long active(self) except? -1
    @cython.locals(q="unsigned long long[::1]", view=SeatView, at=Py_ssize_t)
    cpdef bint take(self, bint ramps=*) except -1
    @cython.locals(q="unsigned long long[::1]", view=SeatView, at=Py_ssize_t, admit=cython.ulonglong)
    cdef bint _may(self, bint ramps) except -1
    @cython.locals(view=SeatView, at=Py_ssize_t, left=cython.longlong)
    cpdef give_back(self)
    cpdef bint on_trial(self) except -1


cdef class Balancer:
    cdef public tuple members
    cdef public object admitted, relieved

    cpdef pick(self, exchange, tried, double now)
    cpdef done(self, Member member, bint failed, double now)
