"""The compiled twin of octets.py, with the same contract."""

__all__ = ["pack_head", "unpack_head"]


cpdef bytes pack_head(unsigned long first, unsigned int flags, unsigned long number):
    cdef unsigned char head[9]
    head[0] = first >> 24 & 255
    head[1] = first >> 16 & 255
    head[2] = first >> 8 & 255
    head[3] = first & 255
    head[4] = flags & 255
    head[5] = number >> 24 & 255
    head[6] = number >> 16 & 255
    head[7] = number >> 8 & 255
    head[8] = number & 255
    return (<char *>head)[:9]


cpdef (long long, int, long long) unpack_head(bytes octets, Py_ssize_t at):
    cdef const unsigned char *head
    if at < 0 or len(octets) - at < 9:
        raise ValueError("no head of a frame there")
    head = <const unsigned char *><const char *>octets + at
    return (
        <long long>head[0] << 24 | head[1] << 16 | head[2] << 8 | head[3],
        head[4],
        <long long>head[5] << 24 | head[6] << 16 | head[7] << 8 | head[8],
    )
