cimport cython

from ..state.view cimport SeatView
from .contract cimport Balancer, Member

cdef int _DRAWS
cdef double _OWED


cdef class RandomTwo(Balancer):
    cdef public list _players, _weights, _costs, _sums, _starts, _there
    cdef public double _turn, _step
    cdef public Py_ssize_t _left, _seat, _seen
    cdef public bint _ramps
    cdef public object _random, _draw

    @cython.locals(players=list, sums=list, view=SeatView, q="unsigned long long[::1]", total=double, last=Py_ssize_t, one=Py_ssize_t, place=Py_ssize_t, member=Member)
    cpdef pick(self, exchange, tried, double now)
    @cython.locals(member=Member, cost=double, start=double, least=double)
    cpdef double _score(self, Py_ssize_t place) except -1e300
    @cython.locals(member=Member, cost=double, turn=double)
    cpdef bint _take(self, Py_ssize_t place) except -1
