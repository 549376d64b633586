cdef class Handshake:
    cdef public str alpn, cipher, server_name, version
    cdef public bint resumed
