from .location_plan cimport LocationPlan


cdef class Kinds:
    cdef public object _asked, _guarding, _hooks, bare, cells, counted, kinds, runtime


cdef class ServicePlan:
    cdef public object arms, name, http2, protocols, tls, prefixes, locations, forked_spellings, forks, _made_of, refuse_encoded_slashes
    cdef public object spellings, access_log, log, tracing
    cdef public LocationPlan everything, fallback, _rules
    cdef public bint is_simple, merge_slashes


cdef class Plan:
    cdef public object generation, snapshot, services, router, backends, rules, trust, timeouts, limits
    cdef public object _clock, _http2, _kinds, _tls_defaults, _view
    cdef public Py_ssize_t unrouted, header_size, header_count
