from .duplex cimport Duplex
from .reactor cimport Reactor


cdef class Stream(Duplex):
    cdef public Reactor reactor
    cdef public object owner, reader, writer
    cdef public bint ready, closed
    cdef public double read_deadline, write_deadline
    cdef object __weakref__
    cdef object _sock, _watcher, _write_watcher
    cdef bytes _kept
    cdef bint _is_tcp
    cdef int _descriptor

    cdef double _deadline(self, double timeout) except? -1
    cdef int _wait_readable(self, double timeout) except -1
    cdef object _next(self)
    cpdef wake_reader(self)
    cdef bytes _receive(self, Py_ssize_t size, int flags)
    cdef Py_ssize_t _put(self, data, Py_ssize_t start, int flags) except -1
    cdef Py_ssize_t _put_both(self, bytes data, bytes more) except -1
    cdef int _send_rest(self, data, Py_ssize_t sent, double timeout) except -1
    cdef int _stop_reading(self, reader) except -1
    cpdef bytes peek(self)
    cpdef Py_ssize_t offer(self, bytes data) except -1
    cpdef set_tcp_option(self, int name, int value)
    cpdef quick_ack(self)
    cpdef close(self)


cpdef getcurrent()
