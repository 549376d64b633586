from .channel cimport Channel


cdef class BackendRequest(Channel):
    cdef public object fault
    cdef public double since
    cdef public bint doubtful
    cdef public str phase
    cdef public list _heads

    cpdef got_head(self, head)
    cpdef fail(self, error)

    cpdef write(self, payload, bint end, double timeout)
    cpdef lost(self, bint reading)
    cpdef timed_out(self, bint writing)
