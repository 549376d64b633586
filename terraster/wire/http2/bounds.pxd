cimport cython


cdef class Bound:
    cdef public str name
    cdef public double rate, most, _level, _at

    @cython.locals(level=double)
    cpdef count(self, double now)
    cpdef forgive(self)
