cimport cython

from terraster.wire.http2.server cimport ServerSession
from .outlet cimport Outlet
from .request cimport Request

cdef int DATA, END, FAILED, NO_ERROR, PONG, REQUEST, RESET, ROOM
cdef long long _MOST_QUEUED


cdef class Session(Outlet):
    cdef public object connection, _clock, _closer, _error, _finish, _start, _tell, _timer
    cdef public bint _draining, _paused
    cdef public double _head_time, _patience, _rests

    cpdef _rest(self)
    cpdef _busy(self)
    cpdef _readable(self)
    @cython.locals(codec=ServerSession)
    cpdef _take(self, bytes data)
    @cython.locals(started=list, fed=dict, room=bint, drained=bint, request=Request, kind=int)
    cpdef _handle(self, list events)
    cpdef _open(self, Request request)
    cpdef _fail(self)
    @cython.locals(codec=ServerSession)
    cpdef finished(self, Request request)
