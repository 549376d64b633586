cimport cython

from ..state.view cimport SeatView
from .contract cimport Balancer, Member
from .window cimport Window

cdef Py_ssize_t _ACTIVE
cdef unsigned long long _RAMPING
cdef long long _NEVER


cdef class LeastConnections(Balancer):
    cdef public list _turns
    cdef public Py_ssize_t _at
    cdef public object _idle
    cdef public Window _window

    @cython.locals(turns=list, place=Py_ssize_t, member=Member)
    cpdef pick(self, exchange, tried, double now)
    @cython.locals(load=list, view=SeatView, q="unsigned long long[::1]", member=Member, at=Py_ssize_t, row=Py_ssize_t, total=cython.longlong, admit=cython.ulonglong)
    cpdef list _load(self, tried)
    @cython.locals(turns=list, view=SeatView, q="unsigned long long[::1]", member=Member, at=Py_ssize_t, row=Py_ssize_t, place=Py_ssize_t, best=Py_ssize_t, second=Py_ssize_t, total=cython.longlong, least=cython.longlong, other=cython.longlong, admit=cython.ulonglong)
    cpdef tuple _least(self, places, refused)
    @cython.locals(view=SeatView, place=Py_ssize_t)
    cpdef done(self, Member member, bint failed, double now)
