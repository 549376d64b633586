cimport cython

from ..exchange cimport Exchange
from .attempt cimport Attempt
from ..wire.heads cimport ResponseHead
from .data_plane cimport DataPlane
from .downstream_head cimport write_head

cdef Py_ssize_t _LARGE


@cython.locals(exchange=Exchange, response=ResponseHead, keep=bint, stays=bint, out=bytes, length=cython.longlong, left=cython.longlong, rest=bytes, framing=Py_ssize_t)
cpdef bint relay(DataPlane plane, Attempt attempt) except -1
