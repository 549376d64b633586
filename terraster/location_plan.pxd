from .balance.contract cimport Balancer


cdef class LocationPlan:
    cdef public object arm, id, path, label, members, timeouts, min_rate, keep, keep_trusted, access_log, log
    cdef public object bad_statuses, breaker, budget, latencies, queue, pool, reported, retry, tracing, outlier, panic_threshold
    cdef public object _prefix, _rewrite, _rewrites
    cdef public Balancer balancer
    cdef public tuple on_request, on_upstream, on_response, on_error, on_log
    cdef public bint ignore_client_abort, strict_responses, drops_twins, limited, retries_calls, watched, passthrough
    cdef public double hedge, response_timeout, per_try, read_timeout, total_timeout, keepalive_timeout
    cdef public long long body_size, requests
    cdef public Py_ssize_t offset, lowest_bad_status, panic_at

    cpdef bint has_others(self, tried) except -1
