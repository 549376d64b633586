cimport cython

from ..state.view cimport SeatView
from .contract cimport Balancer, Member
from .window cimport Window

cdef Py_ssize_t _ACTIVE
cdef unsigned long long _RAMPING


cdef class WeightedLeastConnections(Balancer):
    cdef public list _players, _costs, _starts
    cdef public double _turn, _weights
    cdef public Window _window
    cdef public Py_ssize_t _left, _renewed

    @cython.locals(players=list, costs=list, starts=list, turn=double, view=SeatView, q="unsigned long long[::1]", member=Member, at=Py_ssize_t, row=Py_ssize_t, place=Py_ssize_t, best=Py_ssize_t, busy=cython.longlong, admit=cython.ulonglong, cost=double, start=double, score=double, least=double, price=double, weights=double)
    cpdef pick(self, exchange, tried, double now)
    @cython.locals(players=list, costs=list, starts=list, turn=double, view=SeatView, q="unsigned long long[::1]", member=Member, at=Py_ssize_t, row=Py_ssize_t, place=Py_ssize_t, best=Py_ssize_t, second=Py_ssize_t, busy=cython.longlong, admit=cython.ulonglong, cost=double, start=double, score=double, least=double, other=double, price=double)
    cpdef tuple _cheapest(self, places, refused, double now)
