cimport cython

from ..exchange cimport Exchange
from ..location_plan cimport LocationPlan
from ..wire.heads cimport RequestHead, ResponseHead
from .data_plane cimport DataPlane

cdef Py_ssize_t _CHUNKS, _FRAMES


@cython.locals(
    rules=LocationPlan, theirs=ResponseHead, asked=RequestHead, status=Py_ssize_t, dated=bint, chunked=bint, until_close=bint, resized=bint,
    framing=Py_ssize_t, extra=bytes, minor=Py_ssize_t, whole=bint,
)
cpdef tuple write_head(DataPlane plane, Exchange exchange, head, bint keep)
