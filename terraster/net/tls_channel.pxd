cimport cython

from .duplex cimport Duplex
from .engine cimport Buffer, Engine, buffer_of, engine_of, server_engine, shrink, take_leave, view_of
from .tls_records cimport Records

cdef Py_ssize_t _FIRST, _MOST_UNSENT, _SEGMENT
cdef double _IDLE


cdef class TlsChannel(Duplex):
    cdef public bint _aborts, _ended, _grown, _newcomer, _parted, _sending
    cdef public object quick_ack, reactor, _client, _tls
    cdef public Duplex _plain
    cdef public Buffer _incoming, _outgoing
    cdef public Engine _inner
    cdef public bytes _ahead, _rest
    cdef public Records _records
    cdef public double _until, _large_until
    cdef public Py_ssize_t _small

    cdef _forget(self)
    cdef _failed(self, error)
    @cython.locals(data=bytes)
    cdef _answer(self)
    cdef _grow(self)
    @cython.locals(now=double, at=Py_ssize_t, begin=Py_ssize_t)
    cdef _encrypt(self, data)
    cpdef bytes peek(self)
    @cython.locals(ahead=bytes, data=bytes, pieces=list)
    cpdef bytes recv_now(self)
    cdef _answer_now(self)
    @cython.locals(records=bytes)
    cpdef long long send_now(self, bytes data) except? -1
    cdef _keep(self)
    cdef _say_goodbye(self)
    cdef _add_goodbye(self)
