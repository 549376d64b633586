cdef class SeatView:
    cdef public object table, q, seats, bases, kept_backends, all_buckets, all_clients, backend_leases, location_leases
    cdef public tuple all_backends, all_locations
    cdef public Py_ssize_t seat, base, backends, locations, until, buckets, clients, changes, doubts
    cdef unsigned long long[::1] cells
