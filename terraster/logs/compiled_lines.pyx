"""Access lines, written at the end of each request into one buffer: the compiled way of `terraster.logs.lines.Lines`, with the same octets.

A line is compiled to steps once, from the template of its `Renderer`: literals, and fields. A field that is plain (printable ASCII without
quotes and backslashes, a query without anything that could be a secret, a number) is copied. For every other value the step asks the renderer,
so that escapes, masks and rare fields have one truth. Nothing of an exchange is kept, but the places that lines name until they are taken.
"""

import re

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_NoMemory
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.string cimport memchr, memcmp, memcpy

from ..exchange cimport Exchange
from ..wire.field_line cimport TOKEN, Line, read_line
from ..wire.heads cimport RequestHead

from ..config.log_format import FIELDS
from ..exchange import CONNECT_TIME, QUEUE_TIME, TLS_TIME
from ..wire.grpc import STATUSES
from .endings import termination_state
from .further import STAMP, STAMP_CLF
from .renderer import stamps
from .trace import TRACE

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII "PyUnicode_IS_COMPACT_ASCII"(object)
    void* PyUnicode_DATA(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    bint PyUnicode_CheckExact(object)
    bint PyFloat_CheckExact(object)
    str PyUnicode_DecodeASCII(const char*, Py_ssize_t, const char*)

__all__ = ["CompiledLines"]

cdef enum:
    FULL = 1 << 16  # octets of lines that are to be written, however few they are
    KEPT = 1 << 18  # octets of a buffer that is kept for the next lines
    BEGIN = 1 << 14
    MANY = 1 << 30  # a number of lines above every bound
    PLACES = 16  # texts of services, locations and backends that are remembered until lines are taken

    DIRTY = 1  # needs an escape
    ASK = 2  # ?
    AT = 4  # @
    HASH = 8  # #

cdef enum Kind:
    LITERAL
    STAMPED
    STAMPED_CLF
    MILLISECONDS
    MOMENT
    CLIENT
    PEER
    METHOD
    SCHEME
    HOST
    URI
    PROTOCOL
    STATUS
    BYTES_IN
    BYTES_OUT
    DURATION
    SERVICE
    LOCATION
    UPSTREAM
    UPSTREAM_NAME
    UPSTREAM_TIME
    TRIES
    REQUEST_ID
    ERROR
    DETAIL
    USER_AGENT
    REFERER
    USER
    TLS_VERSION
    TLS_CIPHER
    SNI
    ALPN
    TLS_RESUMED
    GRPC_STATUS
    SPLIT
    LEVEL
    TERMINATION_STATE
    QUEUED
    CONNECTED
    SHAKEN
    HEADERS
    QUERY_PARAMS
    TRACE_ID
    SPAN_ID

_KINDS = {
    "client": CLIENT,
    "peer": PEER,
    "method": METHOD,
    "scheme": SCHEME,
    "host": HOST,
    "uri": URI,
    "protocol": PROTOCOL,
    "status": STATUS,
    "bytes_in": BYTES_IN,
    "bytes_out": BYTES_OUT,
    "duration": DURATION,
    "service": SERVICE,
    "location": LOCATION,
    "upstream": UPSTREAM,
    "upstream_name": UPSTREAM_NAME,
    "upstream_time": UPSTREAM_TIME,
    "tries": TRIES,
    "request_id": REQUEST_ID,
    "error": ERROR,
    "detail": DETAIL,
    "user_agent": USER_AGENT,
    "referer": REFERER,
    "user": USER,
    "tls_version": TLS_VERSION,
    "tls_cipher": TLS_CIPHER,
    "sni": SNI,
    "alpn": ALPN,
    "tls_resumed": TLS_RESUMED,
    "grpc_status": GRPC_STATUS,
    "split": SPLIT,
    "level": LEVEL,
    "termination_state": TERMINATION_STATE,
    "queue_time": QUEUED,
    "connect_time": CONNECTED,
    "tls_time": SHAKEN,
    "headers": HEADERS,
    "query_params": QUERY_PARAMS,
    "trace_id": TRACE_ID,
    "span_id": SPAN_ID,
}

_STEP = re.compile("%%|%[0-9.]*[dfs]|[" + STAMP + STAMP_CLF + "]")

cdef unsigned char[256] _CLASS  # of an octet of a text
cdef unsigned char[256] _NAME  # of an octet of a parameter's name: its small letter; 0: only the sanitizer knows
cdef signed char[256] _HEX


cdef void _fill() noexcept:
    cdef int c
    for c in range(256):
        _CLASS[c] = 0 if 32 <= c < 127 and c != 34 and c != 92 else DIRTY
        _NAME[c] = 0
        _HEX[c] = -1
    _CLASS[63] = ASK
    _CLASS[64] = AT
    _CLASS[35] = HASH
    for c in range(33, 127):
        _NAME[c] = c
    for c in b'%+[].':
        _NAME[c] = 0
    for c in range(26):
        _NAME[65 + c] = 97 + c
    for c in range(10):
        _HEX[48 + c] = c
    for c in range(6):
        _HEX[65 + c] = _HEX[97 + c] = 10 + c


_fill()


cdef struct Span:
    const char* octets  # NULL: there is none
    Py_ssize_t length


cdef struct Step:
    Kind kind
    const char* octets  # of a literal
    Py_ssize_t length


@cython.final
cdef class CompiledLines:
    """Lines of finished exchanges, kept until they are taken. renderer: knows how they look"""

    cdef Step* _steps
    cdef Py_ssize_t _count
    cdef list _literals
    cdef char* _buffer
    cdef Py_ssize_t _size, _room
    cdef Py_ssize_t _kept
    cdef object _renderer, _quoted, _details, _masked, _quote, _encoded, _further
    cdef bytes _stamp, _stamp_clf, _nothing, _empty, _on, _off
    cdef bytes _information, _warning, _failure
    cdef double _second
    cdef bint _json, _query, _looks, _exact
    cdef str _moment
    cdef list _names, _places, _texts
    cdef unsigned long long _lengths

    def __cinit__(self, renderer):
        self._steps = NULL
        self._buffer = NULL
        self._size = self._room = self._kept = self._count = 0

    def __init__(self, renderer):
        self._renderer = renderer
        self._json = renderer.json
        self._quoted = renderer.quoted
        self._quote = renderer.quote
        self._details = renderer.details
        self._masked = renderer.masked
        self._query = renderer.query
        self._encoded = renderer.encoded
        self._further = renderer.further
        self._nothing = renderer.quoted[""].encode()
        self._empty = renderer.empty.encode()
        self._off, self._on = (word.encode() for word in renderer.flags)
        self._second = -float("inf")
        self._stamp = self._stamp_clf = b""
        self._moment = "%s"
        self._exact = renderer.encoded is None or renderer.encoded.exact
        self._information = self._warning = self._failure = b""
        if renderer.further is not None:
            self._information, self._warning, self._failure = (renderer.further.level(status).encode() for status in (200, 400, 500))
        self._names = []
        self._places, self._texts = [None] * PLACES, [b""] * PLACES
        self._lengths = 0
        for name in renderer.secrets:
            if name.isascii():
                octets = name.encode()
                self._names.append(octets)
                self._lengths |= (<unsigned long long>1) << min(len(octets), 63)
        self._compile(renderer.template, [name for name in renderer.names if name != "time_clf"])

    def __dealloc__(self):
        PyMem_Free(self._steps)
        PyMem_Free(self._buffer)

    cdef int _compile(self, str template, list names) except -1:
        steps = []
        text, at = "", 0
        waiting = iter(names)
        for match in _STEP.finditer(template):
            text += template[at : match.start()]
            at = match.end()
            word = match.group()
            if word == "%%":
                text += "%"
                continue
            if text:
                steps.append((LITERAL, text.encode("ascii")))
                text = ""
            if word == STAMP:
                steps.append((STAMPED, b""))
            elif word == STAMP_CLF:
                steps.append((STAMPED_CLF, b""))
            else:
                name = next(waiting)
                if name == "time":
                    self._moment = word
                    steps.append((MILLISECONDS if word == "%03d" else MOMENT, b""))
                else:
                    steps.append((_KINDS[name], b""))
        text += template[at:]
        steps.append((LITERAL, text.encode("ascii")))
        self._literals = [octets for _, octets in steps]
        self._count = len(steps)
        self._steps = <Step*>PyMem_Malloc(self._count * sizeof(Step))
        if self._steps == NULL:
            PyErr_NoMemory()
        cdef Py_ssize_t i
        for i in range(self._count):
            self._steps[i].kind = steps[i][0]
            literal = self._literals[i]
            self._steps[i].octets = PyBytes_AS_STRING(literal)
            self._steps[i].length = PyBytes_GET_SIZE(literal)
        self._looks = any(kind in (USER_AGENT, REFERER) for kind, _ in steps)
        return 0

    # ---- the contract of Lines

    def add(self, Exchange x not None):
        """Write the line of a finished exchange. Returns how many lines are kept, or more if they are to be written now."""
        cdef Py_ssize_t before = self._size
        try:
            self._line(x)
        except BaseException:
            self._size = before
            raise
        self._kept += 1
        return self._kept if self._size < FULL else MANY

    def take(self):
        """The lines that are kept, which are forgotten."""
        taken = PyBytes_FromStringAndSize(self._buffer, self._size)
        self._size = self._kept = 0
        self._forget()
        if self._room > KEPT:
            PyMem_Free(self._buffer)
            self._buffer = NULL
            self._room = 0
        return taken

    def each(self, exchanges):
        """One line for each exchange, which are not kept."""
        cdef Py_ssize_t before = self._size
        cdef Exchange x
        lines = []
        try:
            for x in exchanges:
                self._line(x)
                lines.append(PyUnicode_DecodeASCII(self._buffer + before, self._size - before, NULL))
                self._size = before
        finally:
            self._size = before
            self._forget()
        return lines

    # ---- octets

    cdef inline int _reserve(self, Py_ssize_t more) except -1:
        if self._size + more > self._room:
            self._grow(more)
        return 0

    cdef int _grow(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t room = max(BEGIN, self._room)
        while room < self._size + more:
            room *= 2
        cdef char* grown = <char*>PyMem_Realloc(self._buffer, room)
        if grown == NULL:
            PyErr_NoMemory()
        self._buffer = grown
        self._room = room
        return 0

    cdef inline int _put(self, const char* octets, Py_ssize_t length) except -1:
        self._reserve(length)
        memcpy(self._buffer + self._size, octets, length)
        self._size += length
        return 0

    cdef inline int _put_bytes(self, bytes octets) except -1:
        if octets is None:
            raise TypeError("octets are needed, not None")
        return self._put(PyBytes_AS_STRING(octets), PyBytes_GET_SIZE(octets))

    cdef int _put_ready(self, str text) except -1:
        """A text that is escaped already. All of them are ASCII."""
        if text is None:
            raise TypeError("a text is needed, not None")
        if not PyUnicode_IS_COMPACT_ASCII(text):
            return self._put_bytes(text.encode("ascii"))
        return self._put(<const char*>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text))

    cdef inline int _put_clean(self, const char* octets, Py_ssize_t length) except -1:
        """A value that needs no escape."""
        if not length:
            return self._put_bytes(self._nothing)
        self._reserve(length + 2)
        cdef char* to = self._buffer + self._size
        if self._json:
            to[0] = 34
            memcpy(to + 1, octets, length)
            to[length + 1] = 34
            self._size += length + 2
        else:
            memcpy(to, octets, length)
            self._size += length
        return 0

    cdef inline int _put_value(self, value) except -1:
        """Text, or octets."""
        cdef const char* octets
        cdef Py_ssize_t length
        if PyUnicode_CheckExact(value):
            if not PyUnicode_IS_COMPACT_ASCII(value):
                return self._put_ready(self._quoted[value])
            octets = <const char*>PyUnicode_DATA(value)
            length = PyUnicode_GET_LENGTH(value)
        elif PyBytes_CheckExact(value):
            octets = PyBytes_AS_STRING(value)
            length = PyBytes_GET_SIZE(value)
        else:
            return self._put_ready(self._quoted[value])
        if _kinds(octets, length) & DIRTY:
            return self._put_ready(self._quoted[value])
        return self._put_clean(octets, length)

    cdef int _put_known(self, Kind kind, place) except -1:
        """What a service, a location or a backend is called. kind: one of those from SERVICE to UPSTREAM_NAME"""
        if place is None:
            return self._put_bytes(self._nothing)
        cdef size_t at = ((<size_t><void*>place >> 5) + <size_t>kind) % PLACES
        if self._places[at] is place:
            return self._put_bytes(self._texts[at])
        cdef Py_ssize_t begin = self._size
        if kind == SERVICE:
            self._put_value(place.name)
        elif kind == LOCATION:
            self._put_value(place.label)
        else:
            self._put_value(place.backend.label if kind == UPSTREAM else place.backend.name)
        self._places[at] = None
        self._texts[at] = PyBytes_FromStringAndSize(self._buffer + begin, self._size - begin)
        self._places[at] = place
        return 0

    cdef int _forget(self) except -1:
        """Keep no place alive that a reload has replaced."""
        cdef Py_ssize_t at
        for at in range(PLACES):
            self._places[at] = None
        return 0

    cdef int _put_span(self, const char* octets, Py_ssize_t length) except -1:
        """Octets of a head."""
        if _kinds(octets, length) & DIRTY:
            return self._put_ready(self._quoted[PyBytes_FromStringAndSize(octets, length)])
        return self._put_clean(octets, length)

    # ---- numbers

    cdef inline int _put_number(self, long long number) except -1:
        """As ``%d``."""
        return self._put_digits(number) if number >= 0 else self._put_ready("%d" % number)

    cdef inline int _put_digits(self, unsigned long long number) except -1:
        cdef char[24] digits
        cdef int at = 24
        while True:
            at -= 1
            digits[at] = 48 + <char>(number % 10)
            number //= 10
            if not number:
                break
        return self._put(digits + at, 24 - at)

    cdef int _put_seconds(self, double seconds) except -1:
        """As ``%.6f``. The octets are computed if no digit can depend on how the product is rounded, else the interpreter is asked."""
        cdef double scaled, rest
        cdef unsigned long long millionths
        cdef int place
        if 0.0 < seconds < 1e6:
            scaled = seconds * 1e6
            millionths = <unsigned long long>scaled
            rest = scaled - <double>millionths
            if rest < 0.499 or rest > 0.501:
                millionths += rest > 0.5
                self._put_digits(millionths // 1000000)
                self._reserve(7)
                millionths %= 1000000
                self._buffer[self._size] = 46
                for place in range(6, 0, -1):
                    self._buffer[self._size + place] = 48 + <char>(millionths % 10)
                    millionths //= 10
                self._size += 7
                return 0
        return self._put_ready("%.6f" % seconds)

    cdef int _put_lasting(self, value) except -1:
        """A duration, as the line writes it. None: there was none"""
        if value is None:
            return self._put_bytes(self._empty)
        if self._exact:
            return self._put_seconds(value) if PyFloat_CheckExact(value) else self._put_ready("%.6f" % value)
        return self._put_ready(self._encoded.lasting(float("%.6f" % value)))

    # ---- time

    cdef int _tick(self, double wall) except -1:
        iso, clf = stamps(int(wall))
        self._stamp, self._stamp_clf = iso.encode(), clf.encode()
        self._second = <double>int(wall)
        return 0

    cdef int _put_milliseconds(self, double milliseconds) except -1:
        """As ``%03d``."""
        if not 0.0 <= milliseconds < 1000.0:
            return self._put_ready("%03d" % milliseconds)
        cdef int number = <int>milliseconds
        self._reserve(3)
        cdef char* to = self._buffer + self._size
        to[0] = 48 + number // 100
        to[1] = 48 + number // 10 % 10
        to[2] = 48 + number % 10
        self._size += 3
        return 0

    # ---- URIs

    cdef int _put_uri(self, target) except -1:
        """A request target, masked."""
        cdef const char* octets
        cdef Py_ssize_t length
        cdef int kinds
        cdef const char* query
        if PyBytes_CheckExact(target):
            octets = PyBytes_AS_STRING(target)
            length = PyBytes_GET_SIZE(target)
            kinds = _kinds(octets, length)
            if not kinds & (DIRTY | ASK | AT):
                return self._put_clean(octets, length)
            if not kinds & (DIRTY | AT | HASH):
                query = <const char*>memchr(octets, 63, length)
                if not self._query:
                    return self._put_clean(octets, query - octets)
                if self._tells_nothing(query + 1, octets + length):
                    return self._put_clean(octets, length)
        return self._put_ready(self._renderer.uri(target))

    cdef int _put_referer(self, const char* octets, Py_ssize_t length) except -1:
        """The value of Referer, masked."""
        cdef const char* query
        if not _kinds(octets, length) & (DIRTY | AT | HASH):
            query = <const char*>memchr(octets, 63, length)
            if query == NULL:
                return self._put_clean(octets, length)
            if not self._query:
                return self._put_clean(octets, query - octets)
            if self._tells_nothing(query + 1, octets + length):
                return self._put_clean(octets, length)
        return self._put_ready(self._renderer.referer(PyBytes_FromStringAndSize(octets, length)))

    cdef bint _tells_nothing(self, const char* at, const char* end):
        """True if `Sanitizer.uri` would leave a query alone. False if it might not. The octets are printable ASCII without # and @."""
        cdef const char* begin
        cdef unsigned char c, d
        cdef int value
        while True:
            begin = at
            while at < end and at[0] not in (38, 59, 63, 61):
                if not _NAME[<unsigned char>at[0]]:
                    return False
                at += 1
            if at < end and at[0] == 61:
                if self._is_secret(begin, at - begin):
                    return False
                at += 1
                while at < end and at[0] not in (38, 59, 63):
                    c = at[0]
                    if c == 61 or c == 58:  # it may have a name and a value within
                        return False
                    if c == 37:
                        if end - at < 3 or _HEX[<unsigned char>at[1]] < 0 or _HEX[<unsigned char>at[2]] < 0:
                            return False
                        value = _HEX[<unsigned char>at[1]] * 16 + _HEX[<unsigned char>at[2]]
                        if value == 37 or value == 61 or value == 58:
                            return False
                        at += 2
                    at += 1
            if at >= end:
                return True
            at += 1

    cdef bint _is_secret(self, const char* name, Py_ssize_t length):
        cdef bytes secret
        cdef const char* octets
        cdef Py_ssize_t at
        if not self._lengths & ((<unsigned long long>1) << (length if length < 63 else 63)):
            return False
        for secret in self._names:
            if PyBytes_GET_SIZE(secret) == length:
                octets = PyBytes_AS_STRING(secret)
                at = 0
                while at < length and octets[at] == <char>_NAME[<unsigned char>name[at]]:
                    at += 1
                if at == length:
                    return True
        return False

    # ---- a line

    cdef int _line(self, Exchange x) except -1:
        cdef double wall = x.wall
        cdef double age = wall - self._second
        cdef Py_ssize_t i
        cdef Step* step
        if not 0.0 <= age < 1.0:
            self._tick(wall)
            age = wall - self._second
        head = x.head
        cdef RequestHead scanned = None
        cdef Span agent, referer
        agent.octets = referer.octets = NULL
        agent.length = referer.length = 0
        if type(head) is RequestHead:
            scanned = <RequestHead>head
        if self._looks and head is not None:
            if scanned is not None and scanned.text is not None and scanned.made_fields is None:
                _find(scanned, &agent, &referer)
            else:
                fields = head.fields  # keeps the octets until the line is made
                for name, value in fields:
                    if _is_alike(name, b"user-agent", 10):
                        agent = _span(value)
                    elif _is_alike(name, b"referer", 7):
                        referer = _span(value)
        for i in range(self._count):
            step = &self._steps[i]
            if step.kind == LITERAL:
                self._put(step.octets, step.length)
            elif step.kind == STAMPED:
                self._put_bytes(self._stamp)
            elif step.kind == STAMPED_CLF:
                self._put_bytes(self._stamp_clf)
            elif step.kind == MILLISECONDS:
                self._put_milliseconds(age * 1000.0)
            elif step.kind == MOMENT:
                self._put_ready(self._moment % self._encoded.moment(self._second, age * 1000.0))
            elif step.kind == CLIENT:
                self._put_value(x.client_ip)
            elif step.kind == PEER:
                self._put_value(x.peer_ip)
            elif step.kind == METHOD:
                self._put_value(x.method)
            elif step.kind == SCHEME:
                self._put_value(x.scheme)
            elif step.kind == HOST:
                self._put_value(x.host)
            elif step.kind == URI:
                self._put_uri(x.target)
            elif step.kind == PROTOCOL:
                if head is None:
                    self._put_bytes(self._nothing)
                elif scanned is not None and 0 <= scanned.minor <= 1:
                    self._put_clean(b"HTTP/1.1" if scanned.minor else b"HTTP/1.0", 8)
                else:
                    self._put_protocol(head.major, head.minor)
            elif step.kind == STATUS:
                self._put_number(x.status)
            elif step.kind == BYTES_IN:
                self._put_number(x.bytes_in)
            elif step.kind == BYTES_OUT:
                self._put_number(x.bytes_out)
            elif step.kind == DURATION:
                if self._exact:
                    self._put_seconds(x.duration)
                else:
                    self._put_ready(self._encoded.lasting(x.duration))
            elif step.kind == SERVICE:
                self._put_known(SERVICE, x.service)
            elif step.kind == LOCATION:
                self._put_known(LOCATION, x.location)
            elif step.kind == UPSTREAM:
                self._put_known(UPSTREAM, x.backend)
            elif step.kind == UPSTREAM_NAME:
                self._put_known(UPSTREAM_NAME, x.backend)
            elif step.kind == UPSTREAM_TIME:
                if x.upstream_time < 0:
                    self._put_bytes(self._empty)
                elif self._exact:
                    self._put_seconds(x.upstream_time)
                else:
                    self._put_lasting(x.upstream_time)
            elif step.kind == TRIES:
                self._put_number(x.tries)
            elif step.kind == REQUEST_ID:
                self._put_value(x.request_id)
            elif step.kind == ERROR:
                self._put_value(x.error)
            elif step.kind == DETAIL:
                detail = x.detail
                self._put_ready(self._details[detail]) if detail else self._put_bytes(self._nothing)
            elif step.kind == USER_AGENT:
                self._put_bytes(self._nothing) if agent.octets == NULL else self._put_span(agent.octets, agent.length)
            elif step.kind == REFERER:
                self._put_bytes(self._nothing) if referer.octets == NULL else self._put_referer(referer.octets, referer.length)
            elif step.kind == USER:
                self._put_value(x.user)
            else:
                self._put_rare(step.kind, x)
        return 0

    cdef int _put_protocol(self, major, minor) except -1:
        if major == 1 and minor == 1:
            return self._put_clean(b"HTTP/1.1", 8)
        if major == 1 and minor == 0:
            return self._put_clean(b"HTTP/1.0", 8)
        return self._put_ready(self._quoted[("HTTP/1.0", "HTTP/1.1", "HTTP/2.0")[minor if major == 1 else 2]])

    cdef int _put_rare(self, Kind kind, Exchange x) except -1:
        if kind == LEVEL:
            status = x.status
            return self._put_bytes(self._failure if status >= 500 else self._warning if status >= 400 else self._information)
        if kind == TERMINATION_STATE:
            return self._put_value("--" if x.tries and not x.error and x.status != 499 else termination_state(x))
        if kind == SPLIT:
            place = x.location
            return self._put_bytes(self._nothing) if place is None else self._put_value(place.arm)
        if kind == GRPC_STATUS:
            call = x.grpc
            return self._put_bytes(self._nothing) if call is None else self._put_value(STATUSES[call.status])
        if kind == HEADERS:
            return self._put_ready(self._further.headers(x))
        if kind == QUERY_PARAMS:
            return self._put_ready(self._further.parameters(x))
        facts = x.facts
        if kind == QUEUED or kind == CONNECTED or kind == SHAKEN:
            what = QUEUE_TIME if kind == QUEUED else CONNECT_TIME if kind == CONNECTED else TLS_TIME
            return self._put_lasting(None if facts is None else facts.get(what))
        if kind == TRACE_ID or kind == SPAN_ID:
            trace = None if facts is None else facts.get(TRACE)
            if trace is None:
                return self._put_bytes(self._nothing)
            return self._put_value(trace.trace_id if kind == TRACE_ID else trace.span_id)
        done = x.handshake
        if done is None:
            return self._put_bytes(self._empty if kind == TLS_RESUMED else self._nothing)
        if kind == TLS_RESUMED:
            return self._put_bytes(self._on if done.resumed else self._off)
        return self._put_value(
            done.version if kind == TLS_VERSION else done.cipher if kind == TLS_CIPHER else done.server_name if kind == SNI else done.alpn
        )


cdef inline int _kinds(const char* octets, Py_ssize_t length) noexcept:
    """The classes of all these octets together."""
    cdef Py_ssize_t at
    cdef int kinds = 0
    for at in range(length):
        kinds |= _CLASS[<unsigned char>octets[at]]
    return kinds


cdef inline bint _is_alike(bytes name, const char* small, Py_ssize_t length) except -1:
    """True if they are the same but for case."""
    cdef Py_ssize_t at
    cdef char c
    if name is None:
        raise TypeError("octets are needed, not None")
    if PyBytes_GET_SIZE(name) != length:
        return False
    for at in range(length):
        c = PyBytes_AS_STRING(name)[at]
        if 65 <= c <= 90:
            c += 32
        if c != small[at]:
            return False
    return True


cdef inline Span _span(bytes value) except *:
    cdef Span span
    if value is None:
        raise TypeError("octets are needed, not None")
    span.octets = PyBytes_AS_STRING(value)
    span.length = PyBytes_GET_SIZE(value)
    return span


cdef void _find(RequestHead head, Span* agent, Span* referer) noexcept:
    """The last User-Agent and Referer of a head in order, in its own octets."""
    cdef const unsigned char* at = <const unsigned char*>PyBytes_AS_STRING(head.text)
    cdef const unsigned char* end = at + head.end
    cdef unsigned char first
    cdef Line line
    at += head.line + 2
    while at < end:
        first = at[0] | 32
        if (first == c"u" or first == c"r") and read_line(at, end, TOKEN, &line):
            if line.name_size == 10 and not memcmp(line.lower, b"user-agent", 10):
                agent.octets = <const char*>line.value
                agent.length = line.value_size
            elif line.name_size == 7 and not memcmp(line.lower, b"referer", 7):
                referer.octets = <const char*>line.value
                referer.length = line.value_size
        at = <const unsigned char*>memchr(at, c"\n", end - at)
        if at == NULL:
            return
        at += 1
