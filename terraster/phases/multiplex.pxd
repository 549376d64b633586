cpdef bint choose(plane, connection) except -1
