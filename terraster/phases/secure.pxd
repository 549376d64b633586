from terraster.wire.client_hello cimport ClientHello, HelloReader


cdef _handshake(plane, connection, HelloReader reader)
cdef _authenticate(plane, connection, stream)
cdef _service(plane, connection, ClientHello hello)
cdef _refused(plane, connection, int code, str detail, str result)
