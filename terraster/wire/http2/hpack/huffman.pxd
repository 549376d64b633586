cpdef bytes decode(bytes octets)
cpdef bytes encode(bytes string)
