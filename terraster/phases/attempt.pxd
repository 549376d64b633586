cimport cython

from ..balance.contract cimport Member
from ..exchange cimport Exchange
from ..location_plan cimport LocationPlan
from ..net.duplex cimport Duplex
from ..net.origin cimport Origin
from ..net.pool cimport Pool
from ..net.upstream cimport Upstream
from ..state.view cimport SeatView
from ..wire.heads cimport RequestHead, ResponseHead
from ..wire cimport slices
from ..wire.http1 cimport parse_response
from .data_plane cimport DataPlane
from .upstream_head cimport upstream_head

cdef Py_ssize_t _REQUESTS, _LATENCY, _BUCKET, _AGAIN, _NO_RESPONSE, _RETRIES, _CALL
cdef Py_ssize_t _BRIEF, _HEAD_SIZE, _FIELDS, _READ, _UNDER_WAY, _GOOD, _BAD_STATUS, _FAILED, _USE
cdef long long _FINE, _QUICK
cdef double _NEVER


@cython.freelist(64)
cdef class Attempt:
    cdef public DataPlane plane
    cdef public Exchange exchange
    cdef public LocationPlan location
    cdef public Member member
    cdef public ResponseHead response
    cdef public object error, following, sender, upstream
    cdef public bytes rest
    cdef public Py_ssize_t row, outcome, verdict, _brief
    cdef public bint framed, kept, heard, look, released, reusable, again, paid, _fresh
    cdef public double ended_at, _asked_at

    @cython.locals(exchange=Exchange, location=LocationPlan, member=Member, plane=DataPlane, framed=bint, out=bytes, origin=Origin, upstream=Upstream)
    cpdef Attempt ask(self)
    @cython.locals(each=double, wait=double)
    cpdef double _time_to_connect(self) except? -1
    @cython.locals(exchange=Exchange, upstream=Upstream, stream=Duplex, head=RequestHead)
    cpdef Upstream _send(self, Origin origin, bytes out)
    @cython.locals(wait=double, data=bytes, more=bytes, interims=Py_ssize_t, strict=bint, response=ResponseHead, stream=Duplex)
    cpdef _read_head(self, Upstream upstream)
    cpdef double _left(self, upstream) except? -1
    @cython.locals(exchange=Exchange, location=LocationPlan, response=ResponseHead, q="unsigned long long[::1]", row=Py_ssize_t, now=double, took=double, status=Py_ssize_t, cell=Py_ssize_t)
    cpdef Py_ssize_t judge(self) except? -1
    @cython.locals(q="unsigned long long[::1]", row=Py_ssize_t, spent=cython.longlong, cell=Py_ssize_t)
    cpdef _timed(self, double took)
    cpdef Py_ssize_t failed(self, error) except? -1
    @cython.locals(response=ResponseHead)
    cpdef discard(self)
    cpdef relayed(self)
    cpdef whole(self, bint reusable)
    @cython.locals(q="unsigned long long[::1]", row=Py_ssize_t, spent=cython.longlong, cell=Py_ssize_t, outcome=Py_ssize_t, failed=bint, plain=Upstream)
    cpdef over(self)


cdef class WatchedAttempt(Attempt):
    cdef public bint muted, trial
