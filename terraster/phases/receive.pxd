cimport cython

from ..net.connection cimport Connection
from ..net.duplex cimport Duplex
from ..plan cimport Plan
from ..wire.heads cimport RequestHead
from ..wire.http1 cimport parse_request
from .data_plane cimport DataPlane

cdef double _NEVER, _PARK


@cython.locals(plan=Plan, stream=Duplex, data=bytes, timeout=double, head=RequestHead)
cpdef RequestHead read_head(DataPlane plane, Connection connection)
