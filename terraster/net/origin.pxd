from .pool cimport Pool


cdef class Origin:
    cdef public object backend, keepalive, _address, _apart, _contexts, _family, _send_proxy, _tls, _view
    cdef public Pool pool
    cdef public object _reactor
    cdef public bint shared
    cdef public Py_ssize_t offset
