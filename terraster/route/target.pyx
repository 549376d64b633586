# cython: language_level=3, binding=False, boundscheck=False, wraparound=False
"""The compiled twin of target.py: a path that is canonical already is found out by one look at each octet."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from .target_reader import canonical as read_target
from .target_reader import split_absolute

__all__ = ["canonical", "split_absolute"]

cdef extern from *:
    """
    /* 1: octets that may be in a canonical path as they are, without slash and dot. */
    static const unsigned char terraster_in_path[256] = {
        ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['0' ... '9'] = 1, ['-'] = 1, ['_'] = 1, ['~'] = 1, ['!'] = 1, ['$'] = 1, ['&'] = 1,
        ['\\''] = 1, ['('] = 1, [')'] = 1, ['*'] = 1, ['+'] = 1, [','] = 1, [';'] = 1, ['='] = 1, [':'] = 1, ['@'] = 1, ['['] = 1, [']'] = 1
    };
    """
    const unsigned char* IN_PATH "terraster_in_path"

cdef bytes NOTHING = b""


cpdef tuple canonical(bytes target, bint refuse_encoded_slashes, bint merge_slashes=True):
    if target is None:
        raise TypeError("a target is octets")
    cdef const unsigned char* base = <const unsigned char*>PyBytes_AS_STRING(target)
    cdef const unsigned char* end = base + PyBytes_GET_SIZE(target)
    cdef const unsigned char* at = base
    cdef Py_ssize_t path
    while at[0] == c"/":  # the NUL behind the last octet ends this, too
        at += 1
        if at[0] == c"." or (at[0] == c"/" and merge_slashes):
            return read_target(target, refuse_encoded_slashes, merge_slashes)
        while IN_PATH[at[0]] or at[0] == c".":
            at += 1
    path = at - base
    if path == 0 or (at < end and at[0] != c"?"):
        return read_target(target, refuse_encoded_slashes, merge_slashes)
    if at == end:
        return target, NOTHING
    at += 1
    while 0x21 <= at[0] <= 0x7e and at[0] != c"#":
        at += 1
    if at < end:
        return read_target(target, refuse_encoded_slashes, merge_slashes)
    return target[:path], target[path + 1:]
