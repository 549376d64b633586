cdef class Accepted:
    cdef readonly int family
    cdef int _kind, _protocol, _descriptor

    cpdef close(self)
    cdef socket(self)
