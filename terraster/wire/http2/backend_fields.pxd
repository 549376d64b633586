cimport cython

from terraster.wire.heads cimport RequestHead, ResponseHead

from .hpack.writer cimport field


@cython.locals(known=tuple, host=bytes, block=bytes, at=Py_ssize_t, fixed=bytes, first=bytes, more=bytes, other=bytes, rest=bytes, start=bytes, start_of_more=bytes)
cpdef bytes request_block(RequestHead head, bytes target, bytes scheme, keep, drop, bytes extra)

cdef tuple _without_host(bytes lines)

@cython.locals(status=bytes, lines=list, length="long long", one=tuple, line=bytes, interim=bint)
cpdef response_head(list fields, bytes method, bint end_stream, Py_ssize_t header_count, Py_ssize_t header_size)

cdef bytes _line(tuple one)
