cdef class Contexts:
    cdef public object secrets
    cdef object _library, _made
    cdef dict _choices
    cdef tuple _last
    cdef Py_ssize_t _most
    cdef bint _refused

    cpdef tuple find(self, str service, tls, str name=*, only=*)
    cdef tuple _find(self, str service, tls, str name, only)
    cdef tuple _certificates(self, str service, tls, str name)
    cdef _complete(self, str service, tls, context)
