cimport cython

cdef enum:
    MOST = 12  # lines that a head in order may have cut out of it; with more of them it is left to the reader

cdef struct Cuts:
    # The lines that do not simply travel.
    int count
    int[MOST] begin
    int[MOST] end
    unsigned char[MOST] kind

@cython.no_gc
cdef class RequestHead:
    cdef public bytes method
    cdef public bytes target
    cdef public bytes host
    cdef public bytes upgrade
    cdef public bytes protocol
    cdef public frozenset dropped
    cdef public object _block
    cdef public long long content_length
    cdef public long long max_forwards
    cdef public Py_ssize_t size
    cdef public int minor
    cdef public bint chunked
    cdef public bint keep_alive
    cdef public bint expect
    # Of a head in order: its octets, the places of the CRLF behind the version and behind the last line, and the lines that do not simply
    # travel. No Python code can change them.
    cdef bytes text
    cdef int line
    cdef int end
    cdef Cuts cuts
    cdef object made_fields
    cdef object made_special

    cpdef bytes forward(self, bytes target, keep, drop, bytes extra)
    cpdef tuple lines(self, keep, drop, bytes extra)

@cython.no_gc
cdef class ResponseHead:
    cdef public bytes upgrade
    cdef public list location
    cdef public frozenset dropped
    cdef public bytes block
    cdef public object block_for
    cdef public object _cut_for
    cdef public bytes _lines
    cdef public long long content_length
    cdef public Py_ssize_t size
    cdef public int status
    cdef public int minor
    cdef public bint chunked
    cdef public bint until_close
    cdef public bint no_body
    cdef public bint keep_alive
    cdef public bint dated
    cdef bytes text
    cdef int line
    cdef int end
    cdef int count
    cdef Cuts cuts
    cdef object made_fields
    cdef object made_special
    cdef bytes made_raw

    cpdef bytes forward(self, drop, replace, bytes extra)
