cdef class KeepAlive:
    cdef public double seconds, usable
    cdef public list _ages
    cdef public double _at
