cdef class Duplex:
    cdef public bint buffers

    cpdef bytes recv(self, double timeout, Py_ssize_t size=*)
    cpdef bint send(self, data, double timeout, bytes more=*) except -1
