cimport cython

from ..state.view cimport SeatView
from .contract cimport Balancer, Member
from .weighted_least_connections cimport WeightedLeastConnections

cdef Py_ssize_t _ACTIVE, _EWMA
cdef double _UP, _DOWN, _DECAY, _WORST, _ALIKE, _PENALTY, _UNKNOWN, _REFRESH, _NOT
cdef Py_ssize_t _PART


cdef class ResponseTime(WeightedLeastConnections):
    cdef public dict _place
    cdef public list _average, _samples, _stamp, _since, _faded
    cdef public double _usual, _due, _seen
    cdef public Py_ssize_t _picks

    @cython.locals(place=Py_ssize_t)
    cpdef pick(self, exchange, tried, double now)
    @cython.locals(view=SeatView, since=double, waited=double, usual=double)
    cpdef done(self, Member member, bint failed, double now)
    @cython.locals(member=Member, view=SeatView)
    cpdef _learn(self, Py_ssize_t place, double average, double now)
    @cython.locals(usual=double)
    cpdef double _slow(self, double seconds) except -1
    @cython.locals(usual=double, average=list, faded=list, since=list, place=Py_ssize_t, seconds=double, costs=list, players=list, member=Member)
    cpdef tuple _cheapest(self, places, refused, double now)
