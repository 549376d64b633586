cdef class Stream:
    cdef public long long id, window, credit, taken, unread, expected, got, head_size
    cdef public int urgency, interims
    cdef public bint receiving, sending, answered, connect, abandoned, incremental, headed
    cdef public bytes method


cdef class Lingering:
    cdef public Stream stream
    cdef public long long octets
    cdef public double until
