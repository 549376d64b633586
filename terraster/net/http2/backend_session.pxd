cimport cython

from .backend_request cimport BackendRequest
from .outlet cimport Outlet

cdef int DATA, END, FAILED, GONE, INTERIM, PONG, RESET, RESPONSE, ROOM


cdef class BackendSession(Outlet):
    cdef public object pool
    cdef public double since, _asked_at, _heard_at, _next_ping, _stalls_at

    @cython.locals(request=BackendRequest)
    cpdef BackendRequest request(self, bytes block, bytes method, bint end)
    cpdef finished(self, BackendRequest request, int code)
    @cython.locals(now=double, settled=bint)
    cpdef _readable(self)
    @cython.locals(woken=dict, room=bint, request=BackendRequest, kind=int)
    cpdef _handle(self, list events)
