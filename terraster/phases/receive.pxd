cimport cython

from ..net.connection cimport Connection
from ..wire.heads cimport RequestHead
from ..wire.http1 cimport parse_request
from .data_plane cimport DataPlane


@cython.locals(data=bytes, timeout=double, head=RequestHead)
cpdef RequestHead read_head(DataPlane plane, Connection connection)
