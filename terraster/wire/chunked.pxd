cdef Py_ssize_t _SIZE, _DATA, _DATA_END, _TRAILERS, _DONE
cdef Py_ssize_t _MAX_LINE, _MAX_EXTENSIONS, _MAX_TRAILERS

cdef class ChunkedReader:
    cdef public bint done
    cdef public bytes rest
    cdef public list trailers
    cdef public long long received
    cdef object _error
    cdef object _size_line
    cdef long long _limit
    cdef long long _excess
    cdef long long _left
    cdef Py_ssize_t _state
    cdef Py_ssize_t _trailer_octets
    cdef bytes _held

    cpdef list feed(self, bytes data)
    cdef object _read_size(self, bytes line)
    cdef object _read_trailer(self, bytes line)
    cdef object _check_partial(self, bytes data, Py_ssize_t at)
