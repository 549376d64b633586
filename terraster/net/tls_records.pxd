cimport cython

cdef Py_ssize_t _HEAD


cdef class Records:
    cdef public bint ended
    cdef public Py_ssize_t _due
    cdef public bytes _head

    @cython.locals(octets=bytes, size=Py_ssize_t, end=Py_ssize_t, ended=bint)
    cpdef follow(self, bytes data)
