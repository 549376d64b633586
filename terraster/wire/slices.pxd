# A module that cimports this slices octets without an object for each end and one for the slice: 90 instructions instead of 770.
cdef extern from *:
    """
    static CYTHON_INLINE PyObject* terraster_slice(PyObject* of, Py_ssize_t begin, Py_ssize_t end) {
        Py_ssize_t size;
        if (!PyBytes_CheckExact(of) || begin < 0 || end < 0) return PySequence_GetSlice(of, begin, end);
        size = PyBytes_GET_SIZE(of);
        if (end > size) end = size;
        if (begin >= end) return PyBytes_FromStringAndSize(NULL, 0);
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(of) + begin, end - begin);
    }
    #define PySequence_GetSlice terraster_slice
    """
