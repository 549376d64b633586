cimport cython


cdef class Handshakes:
    cdef public object log
    cdef object _loop, _quiet, _view
    cdef dict _under_way
    cdef Py_ssize_t _most
    cdef bint _sheds

    cpdef begin(self, connection, Py_ssize_t connections)
    cpdef end(self, connection)
    cpdef succeeded(self, connection, handshake)
    cdef _count(self, listener, Py_ssize_t cell)
