cimport cython


@cython.no_gc
cdef class Buffer:
    cdef object _memory
    cdef void* _bio

    cpdef bytes read(self)
    cpdef write(self, data)


@cython.no_gc
cdef class Engine:
    cdef object _made
    cdef void* _ssl

    cpdef do_handshake(self)
    cpdef int pending(self) except -1
    cpdef bytes read(self, Py_ssize_t size)
    cpdef shutdown(self)
    cpdef version(self)
    cpdef Py_ssize_t write(self, data) except -1


cpdef Engine engine_of(made)
cpdef Engine server_engine(context, incoming, outgoing)
cpdef view_of(Engine engine)
cpdef bint shake(Engine engine) except -1
cpdef take_leave(Engine engine)
cpdef tuple facts(Engine engine)
cpdef Buffer buffer_of(memory, Engine engine)
cpdef bint shrink(Buffer buffer) except -1
