"""The compiled twin of `fence.py`."""

cdef extern from *:
    """
    #define full_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    """
    void full_fence() noexcept nogil

__all__ = ["fence"]


cpdef fence():
    full_fence()
