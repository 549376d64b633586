cimport cython

cdef Py_ssize_t _RECORD_HEADER, _EXTENSION_HEADER, _LEAST, _MOST_IN_RECORD, _MOST_IN_HELLO, _KEY_NAME, _MOST_TICKETS
cdef int _ALERT, _HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _ALPN, _SESSION_TICKET, _PRE_SHARED_KEY, _HOST_NAME


cdef class ClientHello:
    cdef public str server_name
    cdef public tuple alpn, tickets


cdef class HelloReader:
    cdef public bytearray received, _message
    cdef public Py_ssize_t _at

    @cython.locals(received=bytearray, message=bytearray, size=Py_ssize_t, end=Py_ssize_t)
    cpdef ClientHello feed(self, bytes data)
    @cython.locals(received=bytearray, at=Py_ssize_t, kind=int)
    cdef _check_record(self)


cdef bint _is_token_octet(int octet) except -1

@cython.locals(end=Py_ssize_t, last=Py_ssize_t, kind=int, length=Py_ssize_t, server_name=str, alpn=tuple, tickets=tuple)
cdef ClientHello _parse(bytes data, Py_ssize_t at, Py_ssize_t size)

cdef Py_ssize_t _skip(bytes body, Py_ssize_t at, Py_ssize_t width) except -1

@cython.locals(found=list, at=Py_ssize_t, end=Py_ssize_t)
cdef tuple _identities(bytes data)

@cython.locals(name=str)
cdef str _server_name(bytes data)

cdef bint _is_address(str name) except -1

@cython.locals(found=list, at=Py_ssize_t, end=Py_ssize_t)
cdef tuple _protocols(bytes data)
