cimport cython

from terraster.wire.heads cimport RequestHead, ResponseHead

cdef Py_ssize_t _MAX_LENGTH_DIGITS


@cython.no_gc
cdef class Http2Head(RequestHead):
    pass


@cython.locals(
    head=Http2Head, pseudo=dict, at=Py_ssize_t, name=bytes, value=bytes, lines=list, method=bytes, scheme=bytes, target=bytes, authority=bytes,
    length="long long", start=bytes, raw=bytes, size=Py_ssize_t,
)
cpdef request_head(list fields, bint end_stream, Py_ssize_t header_count, Py_ssize_t header_size)

cdef _check_unusual(dict pseudo)

@cython.locals(cookies=list, length="long long", place=Py_ssize_t, at=Py_ssize_t, line=bytes, name=bytes, value=bytes)
cdef tuple _apart(list fields, list lines, bytes authority)

cdef bytes _host_line(bytes authority)

@cython.locals(block=bytes, more=bytes)
cpdef bytes response_block(head, drop, replace, bytes extra)

@cython.locals(ends=list, new=list, parts=list, pair=tuple)
cdef bytes _block(ResponseHead head, drop, replace)

@cython.locals(parts=list, line=bytes, name=bytes, colon=bytes, value=bytes, lower=bytes)
cpdef bytes lines_block(bytes lines)

@cython.locals(parts=list, name=bytes, value=bytes, lower=bytes)
cpdef bytes trailer_block(trailers, drop=*)
