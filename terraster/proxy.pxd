cimport cython

from .balance.contract cimport Member
from .exchange cimport Exchange
from .location_plan cimport LocationPlan
from .net.connection cimport Connection
from .net.downstream cimport Downstream
from .phases.attempt cimport Attempt
from .phases.data_plane cimport DataPlane
from .phases.locate cimport locate
from .phases.multiplex cimport choose
from .phases.pick cimport first_pick
from .phases.receive cimport read_head
from .phases.respond cimport relay
from .plan cimport Plan
from .state.view cimport SeatView
from .wire.heads cimport RequestHead

cdef Py_ssize_t _BYTES_IN, _BYTES_OUT, _DURATION, _BUCKET, _GRPC, _USE
cdef long long _FINE, _QUICK
cdef tuple _HEX


cdef class Proxy(DataPlane):
    cdef public object mirrors

    @cython.locals(connection=Connection, silent=bint, multiplexed=bint)
    cpdef converse(self, Downstream client)
    @cython.locals(head=RequestHead)
    cpdef bint _live(self, client, Connection connection) except -1
    @cython.locals(exchange=Exchange, keep=bint, location=LocationPlan)
    cpdef bint _serve(self, client, Connection connection, RequestHead head) except -1
    @cython.locals(exchange=Exchange, now=double, count=cython.ulonglong, plain=Downstream)
    cpdef Exchange _begin(self, client, Connection connection, RequestHead head)
    @cython.locals(member=Member, attempt=Attempt, step=Py_ssize_t, keep=bint)
    cpdef bint _forward(self, Exchange exchange) except -1
    @cython.locals(head=RequestHead, location=LocationPlan, length=cython.longlong, held=bytes, total=double, plain=Downstream)
    cpdef _prepare(self, Exchange exchange)
    @cython.locals(location=LocationPlan)
    cpdef Attempt _attempt(self, Exchange exchange, Member member, bint fresh)
    @cython.locals(
        location=LocationPlan, judge=LocationPlan, rules=LocationPlan, connection=Connection, plain=Downstream, duration=double, view=SeatView,
        q="unsigned long long[::1]", row=Py_ssize_t, cell=Py_ssize_t, took=cython.longlong,
    )
    cpdef _finish(self, Exchange exchange)
