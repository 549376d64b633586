cpdef bytes joined(tuple parts)
