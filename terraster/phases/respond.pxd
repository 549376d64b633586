cimport cython

from ..exchange cimport Exchange
from ..net.connection cimport Connection
from ..net.downstream cimport Downstream
from .attempt cimport Attempt
from ..wire.heads cimport RequestHead, ResponseHead
from .data_plane cimport DataPlane
from .downstream_head cimport write_head

cdef Py_ssize_t _LARGE, _READ


@cython.locals(
    exchange=Exchange, response=ResponseHead, head=RequestHead, connection=Connection, plain=Downstream, keep=bint, stays=bint, framed=bint,
    out=bytes, length=cython.longlong, left=cython.longlong, rest=bytes, framing=Py_ssize_t, timeout=double,
)
cpdef bint relay(DataPlane plane, Attempt attempt) except -1
