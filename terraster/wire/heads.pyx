# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""The compiled twin of heads.py. A head in order is written as copied spans of its octets; any other one as in `terraster.wire.forwarding`."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from .field_line cimport SHORT, TOKEN, Line, read_line

from .forwarding import forward_request, forward_response, request_lines

__all__ = ["RequestHead", "ResponseHead"]


cdef inline bytes octets(const unsigned char* begin, Py_ssize_t size):
    return PyBytes_FromStringAndSize(<const char*>begin, size)


cdef list fields_of(bytes text, Py_ssize_t begin, Py_ssize_t end):
    """(name, value) of all lines between two places."""
    cdef const unsigned char* base = <const unsigned char*>PyBytes_AS_STRING(text)
    cdef const unsigned char* at = base + begin
    cdef Line line
    cdef list fields = []
    while at < base + end and read_line(at, base + end, TOKEN, &line):
        fields.append((octets(line.name, line.name_size), octets(line.value, line.value_size)))
        at = line.next
    return fields


cdef void cut_names(bytes text, Py_ssize_t begin, Py_ssize_t end, drop, list parts):
    """Add the lines between two places to ``parts``, without those of the names to drop."""
    cdef const unsigned char* base = <const unsigned char*>PyBytes_AS_STRING(text)
    cdef const unsigned char* at = base + begin
    cdef const unsigned char* start = at
    cdef const unsigned char* stop = base + end
    cdef Line line
    while at < stop and read_line(at, stop, TOKEN, &line):
        if (octets(line.lower, line.name_size) if line.name_size <= SHORT else octets(line.name, line.name_size).lower()) in drop:
            parts.append(octets(start, at - start))
            start = line.next
        at = line.next
    parts.append(octets(start, stop - start))


cdef bytes without(bytes text, Py_ssize_t begin, Py_ssize_t end, Cuts* cuts, drop):
    """The lines between two places without the cuts, and without those of the names to drop."""
    cdef list parts = []
    cdef int one
    for one in range(cuts.count):
        cut_names(text, begin, cuts.begin[one], drop, parts)
        begin = cuts.end[one]
    cut_names(text, begin, end, drop, parts)
    return b"".join(parts)


cdef inline char* put(char* to, const char* octets, Py_ssize_t size) noexcept:
    memcpy(to, octets, size)
    return to + size


cdef inline char* put_bytes(char* to, bytes octets) noexcept:
    return put(to, PyBytes_AS_STRING(octets), PyBytes_GET_SIZE(octets))


cdef inline char* put_lines(char* to, const char* text, Py_ssize_t begin, Py_ssize_t end, Cuts* cuts) noexcept:
    cdef int one
    for one in range(cuts.count):
        to = put(to, text + begin, cuts.begin[one] - begin)
        begin = cuts.end[one]
    return put(to, text + begin, end - begin)


cdef inline Py_ssize_t size_of(Cuts* cuts) noexcept:
    """Octets of the lines that are cut."""
    cdef Py_ssize_t size = 0
    cdef int one
    for one in range(cuts.count):
        size += cuts.end[one] - cuts.begin[one]
    return size


cdef inline void ending(Cuts* all_cuts, keep, Cuts* cuts):
    """Those of the cuts whose kind is not kept."""
    cdef int one
    cuts.count = 0
    for one in range(all_cuts.count):
        if all_cuts.kind[one] not in keep:
            cuts.begin[cuts.count] = all_cuts.begin[one]
            cuts.end[cuts.count] = all_cuts.end[one]
            cuts.count += 1


cdef tuple pair_of(bytes text, Py_ssize_t begin, Py_ssize_t end):
    """(name, value) of one line."""
    cdef Line line
    cdef const unsigned char* base = <const unsigned char*>PyBytes_AS_STRING(text)
    read_line(base + begin, base + end, TOKEN, &line)
    return octets(line.name, line.name_size), octets(line.value, line.value_size)


# Without garbage collection: the fields of a head hold octets and lists of them. A head that was put into one of its own lists would never go.

@cython.no_gc
@cython.freelist(64)
cdef class RequestHead:
    major = 1

    @property
    def fields(self):
        if self.made_fields is None and self.text is not None:
            self.made_fields = fields_of(self.text, self.line + 2, self.end)
        return self.made_fields

    @fields.setter
    def fields(self, fields):
        self.made_fields = fields

    @property
    def special(self):
        cdef int one
        cdef list special
        if self.made_special is None and self.cuts.count:
            special = []
            for one in range(self.cuts.count):
                name, value = pair_of(self.text, self.cuts.begin[one], self.cuts.end[one])
                special.append((self.cuts.kind[one], name, value))
            self.made_special = special
        return self.made_special

    @special.setter
    def special(self, special):
        self.made_special = special

    cpdef bytes forward(self, bytes target, keep, drop, bytes extra):
        cdef Cuts ends
        cdef Cuts* cuts = &self.cuts
        cdef bytes lines, out
        cdef char* to
        cdef char* text
        cdef Py_ssize_t size, end
        if self.text is None:
            return forward_request(self, target, keep, drop, extra)
        if target is None or extra is None or self.method is None:
            raise TypeError("method, target and extra are octets")
        if cuts.count and keep:
            ending(cuts, keep, &ends)
            cuts = &ends
        if drop:
            lines = without(self.text, self.line + 2, self.end, cuts, drop)
            return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (self.method, target, lines, extra)
        text = PyBytes_AS_STRING(self.text)
        end = self.end
        size = PyBytes_GET_SIZE(self.method) + PyBytes_GET_SIZE(target) + end - self.line - size_of(cuts) + PyBytes_GET_SIZE(extra) + 12
        out = PyBytes_FromStringAndSize(NULL, size)
        to = put_bytes(PyBytes_AS_STRING(out), self.method)
        to = put(to, b" ", 1)
        to = put_bytes(to, target)
        to = put(to, b" HTTP/1.1", 9)
        to = put_lines(to, text, self.line, end, cuts)
        to = put_bytes(to, extra)
        put(to, b"\r\n", 2)
        return out

    cpdef tuple lines(self, keep, drop, bytes extra):
        cdef Cuts ends
        if self.text is None:
            return request_lines(self, keep, drop, extra)
        ending(&self.cuts, keep, &ends)
        return b"\r\n" + without(self.text, self.line + 2, self.end, &ends, drop), extra

    def names(self):
        return frozenset([name.lower().replace(b"_", b"-") for name, _ in self.fields])

    def __copy__(self):
        cdef RequestHead made = type(self).__new__(type(self))
        made.method, made.target, made.host, made.upgrade, made.protocol = self.method, self.target, self.host, self.upgrade, self.protocol
        made.dropped, made._block, made.content_length, made.max_forwards = self.dropped, self._block, self.content_length, self.max_forwards
        made.size, made.minor, made.chunked, made.keep_alive, made.expect = self.size, self.minor, self.chunked, self.keep_alive, self.expect
        made.text, made.line, made.end, made.cuts = self.text, self.line, self.end, self.cuts
        made.made_fields, made.made_special = self.made_fields, self.made_special
        return made


@cython.no_gc
@cython.freelist(64)
cdef class ResponseHead:
    own = False
    shared = False

    @property
    def fields(self):
        if self.made_fields is None and self.text is not None:
            self.made_fields = fields_of(self.text, self.line + 2, self.end)
        return self.made_fields

    @fields.setter
    def fields(self, fields):
        self.made_fields = fields

    @property
    def special(self):
        cdef int one
        if self.made_special is None and self.cuts.count:
            self.made_special = [pair_of(self.text, self.cuts.begin[one], self.cuts.end[one]) for one in range(self.cuts.count)]
        return self.made_special

    @special.setter
    def special(self, special):
        self.made_special = special

    @property
    def _raw(self):
        if self.made_raw is None and self.text is not None:
            self.made_raw = self.text[: self.end]
        return self.made_raw

    @_raw.setter
    def _raw(self, raw):
        self.made_raw = raw

    cpdef bytes forward(self, drop, replace, bytes extra):
        cdef bytes out
        cdef char* to
        cdef char* text
        if self.text is None or replace:
            return forward_response(self, drop, replace, extra)
        if extra is None:
            raise TypeError("extra is octets")
        text = PyBytes_AS_STRING(self.text)
        if drop:
            return b"%b%b%b\r\n" % (self.text[:self.line + 2], without(self.text, self.line + 2, self.end, &self.cuts, drop), extra)
        out = PyBytes_FromStringAndSize(NULL, self.end + 2 - size_of(&self.cuts) + PyBytes_GET_SIZE(extra))
        to = put_lines(PyBytes_AS_STRING(out), text, 0, self.end, &self.cuts)
        to = put_bytes(to, extra)
        put(to, b"\r\n", 2)
        return out

    def __copy__(self):
        cdef ResponseHead made = type(self).__new__(type(self))
        made.upgrade, made.location, made.dropped, made.block, made.block_for = self.upgrade, self.location, self.dropped, self.block, self.block_for
        made._cut_for, made._lines, made.content_length, made.size = self._cut_for, self._lines, self.content_length, self.size
        made.status, made.minor, made.chunked, made.until_close, made.no_body = self.status, self.minor, self.chunked, self.until_close, self.no_body
        made.keep_alive, made.dated = self.keep_alive, self.dated
        made.text, made.line, made.end, made.count, made.cuts = self.text, self.line, self.end, self.count, self.cuts
        made.made_fields, made.made_special, made.made_raw = self.made_fields, self.made_special, self.made_raw
        return made
