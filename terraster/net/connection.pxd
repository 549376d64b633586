cdef class _Over:
    pass


cdef class Connection(_Over):
    cdef public object certificate, client_ip, client_port, downstream, handshake, http2, listener, named, peer_ip, plain, private
    cdef public object recv, routed, scheme, send, service, session, stream, tls
    cdef public bytes fields, held, host
    cdef public double idle_since, keepalive, parks_at
    cdef public bint lingering, parked, trusted
    cdef public Py_ssize_t requests
