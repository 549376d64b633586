cimport cython


@cython.freelist(64)
cdef class Exchange:
    cdef public double started, wall, asked, upstream_time, duration
    cdef public long long bytes_in, bytes_out, unread
    cdef public Py_ssize_t tries, resends, faults, status
    cdef public bint idempotent, framed
    cdef public bytes granted, method, target, host, path, query, request_id, content
    cdef public tuple tried, answered
    cdef public object claims, user, facts, client, connection, client_ip, peer_ip, scheme, handshake, said, grpc, head, plan, service, location
    cdef public object admitted, body, buffering, backend, error, detail

    cpdef bytes field(self, bytes name)
    cpdef rules(self)
