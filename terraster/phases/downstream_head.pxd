cimport cython

from ..exchange cimport Exchange
from ..location_plan cimport LocationPlan
from .data_plane cimport DataPlane

cdef Py_ssize_t _CHUNKS, _FRAMES


@cython.locals(rules=LocationPlan, resized=bint, framing=Py_ssize_t, extra=bytes, minor=Py_ssize_t, whole=bint)
cpdef tuple write_head(DataPlane plane, Exchange exchange, head, bint keep)
