cdef class Runners:
    cdef public object reactor, _hub, _job, _run, _switch
    cdef public list _idle
