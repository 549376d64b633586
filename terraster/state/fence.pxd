cpdef fence()
