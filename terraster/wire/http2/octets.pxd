cpdef bytes pack_head(unsigned long first, unsigned int flags, unsigned long number)
cpdef (long long, int, long long) unpack_head(bytes octets, Py_ssize_t at)
