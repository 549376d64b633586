from ..exchange cimport Exchange
from ..net.reactor cimport Reactor
from ..plan cimport Plan
from ..state.view cimport SeatView


cdef class DataPlane:
    cdef public Reactor reactor
    cdef public SeatView view
    cdef public Plan plan
    cdef public object clock, log, tail, defect, ended, outcomes, contexts, failures, handshakes, http2_faults, overload, slow_clients
    cdef public object client_contexts, challenges, runners, buffer
    cdef public bint draining, crowded
    cdef public dict deadlines, tunnels, origins
    cdef public double tunnels_until, wall
    cdef public bytes date, id_prefix, id_start
    cdef public unsigned long long id_count
