# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""The compiled twin of http1.py: heads that are plainly in order are scanned once, and every other one is read by `terraster.wire.head_reader`.

"In order" is narrow on purpose: what a client or a server of today sends. The scanner knows no error. It returns None for an incomplete
head and for all that the rules refuse, limit or treat in an unusual way, and then the reader decides.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.limits cimport INT_MAX
from libc.string cimport memcmp

from .field_line cimport DASHED, SHORT, TOKEN, Line, read_line, span
from .heads cimport MOST, Cuts
from .heads cimport RequestHead as Request
from .heads cimport ResponseHead as Response

from .head_reader import parse_request as read_request
from .head_reader import parse_response as read_response
from .heads import RequestHead, ResponseHead

__all__ = ["MAX_INTERIM", "RequestHead", "ResponseHead", "parse_request", "parse_response"]

MAX_INTERIM = 32

cdef enum:  # those of `terraster.wire.names`
    PASS = 0
    HOST = 1
    CONTENT_LENGTH = 2
    TRANSFER_ENCODING = 3
    CONNECTION = 4
    UNUSUAL = 5  # EXPECT here
    UPGRADE = 6
    DROP = 7
    FORWARDED_FOR = 8
    FORWARDED_PROTO = 9
    FORWARDED_HOST = 10
    FORWARDED_PORT = 11
    FORWARDED = 12
    REQUEST_ID = 13
    REAL_IP = 14
    LOCATION = 15
    DATE = 16
    CLIENT_CERT = 20
    TE = 21

cdef enum:
    OTHER = 0
    CLOSE = 1
    KEEP_ALIVE = 2
    LEAST_SPARE = 1024  # octets behind a head, from which on it is copied: else it would keep them in memory

cdef enum:  # of the memory of response heads: a set for each size of what was read, as far as they differ in their last 6 bits
    SETS = 64
    WAYS = 4
    LONGEST = 1024

cdef list known = [None] * (SETS * WAYS)
cdef int way_to_fill = 0

cdef bytes GET = b"GET"
cdef bytes POST = b"POST"


cdef inline bint same(const unsigned char* octets, const char* word, size_t size) noexcept nogil:
    return memcmp(octets, word, size) == 0


cdef inline int request_kind(Line* line) noexcept nogil:
    """The meaning of a field name: `terraster.wire.names.Names` for requests. UNUSUAL: the reader decides."""
    cdef const unsigned char* name = &line.lower[0]
    cdef Py_ssize_t size = line.name_size
    if size == 4:
        return HOST if same(name, b"host", 4) else PASS
    if size == 2:
        return TE if same(name, b"te", 2) else PASS
    if size == 6:
        return UNUSUAL if same(name, b"expect", 6) else PASS
    if size == 7:
        return UNUSUAL if same(name, b"upgrade", 7) else PASS
    if size == 9:
        if same(name, b"x-real-ip", 9):
            return REAL_IP
        return FORWARDED if same(name, b"forwarded", 9) else PASS
    if size == 10:
        if same(name, b"connection", 10):
            return CONNECTION
        return DROP if same(name, b"keep-alive", 10) else PASS
    if size < 11:
        return PASS
    if size == 11:
        return CLIENT_CERT if same(name, b"client-cert", 11) else PASS
    if name[0] == c"x":
        if size == 12 and same(name, b"x-request-id", 12):
            return REQUEST_ID
        if not same(name, b"x-forwarded-", 12):
            return PASS
        if size == 15 and same(name + 12, b"for", 3):
            return FORWARDED_FOR
        if size == 17 and same(name + 12, b"proto", 5):
            return FORWARDED_PROTO
        if size == 16 and same(name + 12, b"host", 4):
            return FORWARDED_HOST
        if size == 16 and same(name + 12, b"port", 4):
            return FORWARDED_PORT
        return FORWARDED
    if size == 12:
        return UNUSUAL if same(name, b"max-forwards", 12) else PASS
    if size == 14:
        if same(name, b"content-length", 14):
            return CONTENT_LENGTH
        return DROP if same(name, b"http2-settings", 14) else PASS
    if size == 16:
        return DROP if same(name, b"proxy-connection", 16) else PASS
    if size == 17:
        if same(name, b"transfer-encoding", 17):
            return TRANSFER_ENCODING
        return CLIENT_CERT if same(name, b"client-cert-chain", 17) else PASS
    return PASS


cdef inline int response_kind(Line* line) noexcept nogil:
    """The same for responses."""
    cdef const unsigned char* name = &line.lower[0]
    cdef Py_ssize_t size = line.name_size
    if size == 4:
        return DATE if same(name, b"date", 4) else PASS
    if size == 14:
        return CONTENT_LENGTH if same(name, b"content-length", 14) else PASS
    if size == 10:
        if same(name, b"connection", 10):
            return CONNECTION
        return DROP if same(name, b"keep-alive", 10) else PASS
    if size == 17:
        return TRANSFER_ENCODING if same(name, b"transfer-encoding", 17) else PASS
    if size == 8:
        return LOCATION if same(name, b"location", 8) else PASS
    if size == 16:
        if same(name, b"content-location", 16):
            return LOCATION
        return DROP if same(name, b"proxy-connection", 16) else PASS
    if size == 2:
        return TE if same(name, b"te", 2) else PASS
    if size == 7:
        return UPGRADE if same(name, b"upgrade", 7) else PASS
    return PASS


cdef inline bint spells(const unsigned char* octets, const char* word, Py_ssize_t size) noexcept nogil:
    """True if these octets are a word in any case."""
    cdef Py_ssize_t at
    for at in range(size):
        if TOKEN[octets[at]] != <unsigned char>word[at]:
            return False
    return True


cdef inline int option(const Line* line) noexcept nogil:
    """The option of a Connection field that has only one of the two usual ones."""
    if line.value_size == 10 and spells(line.value, b"keep-alive", 10):
        return KEEP_ALIVE
    if line.value_size == 5 and spells(line.value, b"close", 5):
        return CLOSE
    return OTHER


cdef inline long long length(const Line* line) noexcept nogil:
    """The number in a Content-Length field, -1 if it is not one of 1 to 18 digits."""
    cdef long long number = 0
    cdef Py_ssize_t at
    if line.value_size < 1 or line.value_size > 18:
        return -1
    for at in range(line.value_size):
        if line.value[at] < c"0" or line.value[at] > c"9":
            return -1
        number = number * 10 + (line.value[at] - c"0")
    return number


cdef inline bint note(Cuts* cuts, int kind, const unsigned char* base, const unsigned char* at, const Line* line) noexcept nogil:
    """Note a line that does not simply travel. False if there are too many."""
    if cuts.count == MOST:
        return False
    cuts.kind[cuts.count] = kind
    cuts.begin[cuts.count] = at - base
    cuts.end[cuts.count] = line.next - base
    cuts.count += 1
    return True


cdef inline bint chunks(const Line* line) noexcept nogil:
    return line.value_size == 7 and same(line.value, b"chunked", 7)


cdef inline bytes octets(const unsigned char* begin, Py_ssize_t size):
    return PyBytes_FromStringAndSize(<const char*>begin, size)


cdef inline bytes method_of(const unsigned char* begin, Py_ssize_t size):
    if size == 3 and same(begin, b"GET", 3):
        return GET
    if size == 4 and same(begin, b"POST", 4):
        return POST
    return octets(begin, size)


cdef inline bytes own(bytes data, Py_ssize_t size):
    """The octets to keep with a head of this size."""
    return data if PyBytes_GET_SIZE(data) - size < LEAST_SPARE else data[:size]


cpdef Request scan_request(bytes data, Py_ssize_t header_size, Py_ssize_t header_count):
    """The request head at the start of ``data`` if it is in order, else None."""
    if data is None:
        raise TypeError("a head is octets")
    cdef const unsigned char* base = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef const unsigned char* end = base + PyBytes_GET_SIZE(data)
    cdef const unsigned char* at = base
    cdef const unsigned char* target
    cdef const unsigned char* version
    cdef Request head
    cdef Line line
    cdef int kind, hosts = 0
    cdef bint closes = False, stays = False
    cdef Py_ssize_t count = 0
    if end - base > INT_MAX:
        return None
    while TOKEN[at[0]] and at - base <= 32:
        at += 1
    if at == base or at - base > 32 or at[0] != c" " or at[1] != c"/":
        return None
    target = at + 1
    version = span(target, end, 33)
    if end - version < 13 or not same(version, b" HTTP/1.", 8) or version[9] != c"\r" or version[10] != c"\n":
        return None
    if version[8] != c"1" and version[8] != c"0":
        return None
    head = Request.__new__(Request)
    head.method = method_of(base, at - base)
    head.target = octets(target, version - target)
    head.minor = version[8] - c"0"
    head.line = version + 9 - base
    head.content_length = head.max_forwards = -1
    at = version + 11
    while at[0] != c"\r":
        if not read_line(at, end, DASHED, &line):
            return None
        count += 1
        kind = request_kind(&line)
        if kind == PASS:
            pass
        elif kind == HOST:
            hosts += 1
            if not line.value_size:
                return None
            head.host = octets(line.value, line.value_size)
        elif kind == CONTENT_LENGTH:
            if head.content_length >= 0 or head.chunked:
                return None
            head.content_length = length(&line)
            if head.content_length < 0:
                return None
        elif kind == TRANSFER_ENCODING:
            if head.chunked or head.content_length >= 0 or not head.minor or not chunks(&line):
                return None
            head.chunked = True
        elif kind == UNUSUAL:
            return None
        else:
            if kind == CONNECTION:
                kind = option(&line)
                if kind == OTHER:
                    return None
                closes = closes or kind == CLOSE
                stays = True
                kind = CONNECTION
            if not note(&head.cuts, kind, base, at, &line):
                return None
        at = line.next
    if at[1] != c"\n" or hosts != 1:
        return None
    head.keep_alive = not closes and (head.minor or stays)
    head.size = at + 2 - base
    if head.size > header_size or count > header_count:
        return None
    head.text = own(data, head.size)
    head.end = head.size - 2
    return head


cdef inline Response recall(bytes data):
    """The head at the start of ``data`` if it is remembered. Backends repeat heads within each second of their Date."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t first = (size % SETS) * WAYS
    cdef Response head
    cdef int way
    for way in range(WAYS):
        head = <Response>known[first + way]
        if head is not None and head.end + 2 <= size and memcmp(PyBytes_AS_STRING(head.text), PyBytes_AS_STRING(data), head.end + 2) == 0:
            return head
    return None


cdef inline void remember(bytes data, Response head):
    global way_to_fill
    known[PyBytes_GET_SIZE(data) % SETS * WAYS + way_to_fill] = head
    way_to_fill = (way_to_fill + 1) % WAYS


cpdef Response scan_response(bytes data, bytes method, Py_ssize_t header_size, Py_ssize_t header_count):
    """The response head at the start of ``data`` if it is in order, else None."""
    if data is None or method is None:
        raise TypeError("a head and a method are octets")
    cdef const unsigned char* base = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef const unsigned char* end = base + PyBytes_GET_SIZE(data)
    cdef const unsigned char* at = base
    cdef Response head
    cdef Line line
    cdef long long octets_of_body = -1
    cdef int kind, status, count = 0
    cdef bint closes = False
    cdef bint without_body = PyBytes_GET_SIZE(method) == 4 and memcmp(PyBytes_AS_STRING(method), b"HEAD", 4) == 0
    if end - base > INT_MAX or end - base < 16 or not same(at, b"HTTP/1.1 ", 9):
        return None
    if not without_body:
        head = recall(data)
        if head is not None:
            return head if head.end + 2 <= header_size and head.count <= header_count else None
    at += 9
    if not (c"2" <= at[0] <= c"5" and c"0" <= at[1] <= c"9" and c"0" <= at[2] <= c"9"):
        return None
    status = (at[0] - c"0") * 100 + (at[1] - c"0") * 10 + at[2] - c"0"
    at += 3
    if at[0] == c" ":
        at = span(at, end, 32)
    if at[0] != c"\r" or at[1] != c"\n":
        return None
    head = Response.__new__(Response)
    head.status = status
    head.minor = 1
    head.line = at - base
    at += 2
    while at[0] != c"\r":
        if not read_line(at, end, TOKEN, &line):
            return None
        count += 1
        kind = response_kind(&line)
        if kind == PASS:
            pass
        elif kind == DATE:
            head.dated = True
        elif kind == CONTENT_LENGTH:
            if octets_of_body >= 0 or head.chunked or status == 204:
                return None
            octets_of_body = length(&line)
            if octets_of_body < 0:
                return None
        elif kind == TRANSFER_ENCODING:
            if octets_of_body >= 0 or head.chunked or not chunks(&line):
                return None
            head.chunked = True
        elif kind == LOCATION:
            if head.location is None:
                head.location = []
            head.location.append((octets(line.name, line.name_size), octets(line.value, line.value_size)))
        else:
            if kind == CONNECTION:
                kind = option(&line)
                if kind == OTHER:
                    return None
                closes = closes or kind == CLOSE
            if not note(&head.cuts, kind, base, at, &line):
                return None
        at = line.next
    if at[1] != c"\n":
        return None
    head.keep_alive = not closes
    head.size = at + 2 - base
    if head.size > header_size or count > header_count:
        return None
    if without_body or status == 204 or status == 304:
        if head.chunked:
            return None
        head.no_body = True
        head.content_length = -1
    else:
        head.content_length = octets_of_body
        head.until_close = octets_of_body < 0 and not head.chunked
    head.text = own(data, head.size)
    head.end = head.size - 2
    head.count = count
    if not without_body and head.size <= LONGEST:
        remember(data, head)
    return head


cdef inline bint complete(bytes data, Py_ssize_t seen):
    """False if no head ends in these octets. seen: those that had no end before; a head that comes in many pieces is scanned once."""
    return seen == 0 or data is None or data.find(b"\r\n\r\n", seen - 3 if seen > 3 else 0) >= 0


cpdef Request parse_request(bytes data, Py_ssize_t header_size, Py_ssize_t header_count, Py_ssize_t seen=0):
    cdef Request head = scan_request(data, header_size, header_count) if complete(data, seen) else None
    return read_request(data, header_size, header_count, seen) if head is None else head


cpdef Response parse_response(
    bytes data, bytes method, Py_ssize_t header_size, Py_ssize_t header_count, Py_ssize_t seen=0, bint strict=True
):
    cdef Response head = scan_response(data, method, header_size, header_count) if complete(data, seen) else None
    return read_response(data, method, header_size, header_count, seen, strict) if head is None else head
