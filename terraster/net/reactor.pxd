cdef class Reactor:
    cdef public object hub, loop, switch, clock, socket, poll
    cdef public set streams, swollen, _waiters
    cdef public list due, _chores
    cdef public double horizon, _rings_at, _slims_at
    cdef public object _timer, _alarm, _after
