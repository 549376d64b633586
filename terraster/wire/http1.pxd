from .heads cimport RequestHead as Request
from .heads cimport ResponseHead as Response

cpdef Request scan_request(bytes data, Py_ssize_t header_size, Py_ssize_t header_count)
cpdef Response scan_response(bytes data, bytes method, Py_ssize_t header_size, Py_ssize_t header_count)
cpdef Request parse_request(bytes data, Py_ssize_t header_size, Py_ssize_t header_count, Py_ssize_t seen=*)
cpdef Response parse_response(
    bytes data, bytes method, Py_ssize_t header_size, Py_ssize_t header_count, Py_ssize_t seen=*, bint strict=*
)
