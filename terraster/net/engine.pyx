# cython: wraparound=False, initializedcheck=False
"""The compiled twin of `engine.py`, with the same contract, which is written there.

The functions of OpenSSL 3 are found by their names in the library that `ssl` is bound to, so neither its headers nor a library are needed when
this is compiled. Only what is in order is taken from them. After an error the same method of the standard library is called, which finds the
same error in the library's queue, raises it and empties the queue: OpenSSL does nothing more with a connection that has failed.

The pointer to an ``SSL`` is in the object behind an `ssl.SSLObject`, between a null and the pointer to its context (CPython 3.11 to 3.14). The
first connection of a process has that tried with another one, and what the library reads through the pointers compared with what `ssl` tells.
It is looked at again for each connection. Where it is otherwise, and where the library cannot be reached, the methods of the standard library
do everything.

These methods release the interpreter's lock, and the calls here keep it. No callback of `ssl` is used that could raise an error.
"""

import _ssl
import ctypes
import ssl
import sys
from ssl import MemoryBIO, SSLContext, SSLError, SSLObject, SSLWantReadError

from terraster.openssl import has_pointer, linked

cimport cython

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

__all__ = ["CHEAP", "Buffer", "Engine", "buffer_of", "engine_of", "facts", "server_engine", "shake", "shrink", "take_leave", "view_of"]

CHEAP = True

ctypedef int (*_Move)(void*, void*, int) noexcept
ctypedef int (*_Do)(void*) noexcept
ctypedef int (*_Ask)(void*, int) noexcept
ctypedef size_t (*_Count)(void*) noexcept
ctypedef void* (*_Find)(void*) noexcept
ctypedef const char* (*_Tell)(void*) noexcept
ctypedef long (*_Control)(void*, int, long, void*) noexcept
ctypedef void* (*_Make)() noexcept
ctypedef void (*_Drop)(void*) noexcept
ctypedef void (*_Choose)(void*, const unsigned char**, unsigned int*) noexcept

cdef enum:
    _ROOM = 65536
    _MOST = 1 << 30
    _MEMORY = 0x401  # BIO_TYPE_MEM
    _WANT_READ = 2  # SSL_ERROR_WANT_READ
    _SET_BUF_MEM = 114  # BIO_C_SET_BUF_MEM
    _OWNED = 1  # BIO_CLOSE

cdef char[_ROOM] _BUFFER  # it is empty again before another greenlet can run

cdef _Move _ssl_read = NULL
cdef _Move _ssl_write = NULL
cdef _Move _bio_read = NULL
cdef _Move _bio_write = NULL
cdef _Do _ssl_do_handshake = NULL
cdef _Do _ssl_shutdown = NULL
cdef _Do _ssl_pending = NULL
cdef _Do _ssl_is_shaken = NULL
cdef _Do _bio_type = NULL
cdef _Ask _ssl_error = NULL
cdef _Count _bio_pending = NULL
cdef _Find _reading = NULL
cdef _Find _writing = NULL
cdef _Find _context_of = NULL
cdef _Tell _ssl_version = NULL
cdef _Find _cipher = NULL
cdef _Tell _cipher_name = NULL
cdef _Choose _alpn = NULL
cdef _Do _is_resumed = NULL
cdef _Control _bio_control = NULL
cdef _Make _memory_new = NULL
cdef _Drop _memory_free = NULL

cdef int _usable = -1  # 1 if all of them were found, and the objects are as expected; -1: not tried
cdef object _inner_class = None
cdef Py_ssize_t _head = object.__basicsize__
cdef dict _versions = {b"TLSv1.2": "TLSv1.2", b"TLSv1.3": "TLSv1.3"}
cdef dict _protocols = {b"h2": "h2", b"http/1.1": "http/1.1"}
cdef dict _suites = {}  # names by the pointer to what the library knows of a suite


cdef size_t _address(library, str name) except 0:
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value


cdef bint _reach() except -1:
    """Find the functions. False if one is missing, or if the library may be another one than that of `ssl`."""
    global _ssl_read, _ssl_write, _bio_read, _bio_write, _ssl_do_handshake, _ssl_shutdown, _ssl_pending, _ssl_is_shaken, _ssl_error
    global _bio_pending, _bio_type, _reading, _writing, _context_of, _ssl_version, _inner_class
    global _cipher, _cipher_name, _alpn, _is_resumed, _bio_control, _memory_new, _memory_free
    if sys.implementation.name != "cpython" or not ssl.OPENSSL_VERSION.startswith("OpenSSL 3."):
        return False
    try:
        _inner_class = _ssl._SSLSocket
        library = linked()
        if ctypes.c_ulong(library.OpenSSL_version_num()).value != ssl.OPENSSL_VERSION_NUMBER:
            return False
        _ssl_read = <_Move>_address(library, "SSL_read")
        _ssl_write = <_Move>_address(library, "SSL_write")
        _bio_read = <_Move>_address(library, "BIO_read")
        _bio_write = <_Move>_address(library, "BIO_write")
        _ssl_do_handshake = <_Do>_address(library, "SSL_do_handshake")
        _ssl_shutdown = <_Do>_address(library, "SSL_shutdown")
        _ssl_pending = <_Do>_address(library, "SSL_pending")
        _ssl_is_shaken = <_Do>_address(library, "SSL_is_init_finished")
        _bio_type = <_Do>_address(library, "BIO_method_type")
        _ssl_error = <_Ask>_address(library, "SSL_get_error")
        _bio_pending = <_Count>_address(library, "BIO_ctrl_pending")
        _reading = <_Find>_address(library, "SSL_get_rbio")
        _writing = <_Find>_address(library, "SSL_get_wbio")
        _context_of = <_Find>_address(library, "SSL_get_SSL_CTX")
        _ssl_version = <_Tell>_address(library, "SSL_get_version")
        _cipher = <_Find>_address(library, "SSL_get_current_cipher")
        _cipher_name = <_Tell>_address(library, "SSL_CIPHER_get_name")
        _alpn = <_Choose>_address(library, "SSL_get0_alpn_selected")
        _is_resumed = <_Do>_address(library, "SSL_session_reused")
        _bio_control = <_Control>_address(library, "BIO_ctrl")
        _memory_new = <_Make>_address(library, "BUF_MEM_new")
        _memory_free = <_Drop>_address(library, "BUF_MEM_free")
    except (OSError, AttributeError):
        return False
    return True


cdef bint _fits() except -1:
    """True if the objects of `ssl` hold the pointers where they are looked for."""
    cdef void* engine
    cdef Py_ssize_t word = sizeof(void*)
    if _inner_class.__basicsize__ < _head + 3 * word or not (has_pointer(SSLContext) and has_pointer(MemoryBIO)):
        return False
    incoming, outgoing = MemoryBIO(), MemoryBIO()
    try:
        made = SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(incoming, outgoing, True)
    except SSLError:
        return False
    engine = _pointer(getattr(made, "_sslobj", made))
    if engine is NULL or _reading(engine) is not _memory(incoming) or _writing(engine) is not _memory(outgoing):
        return False
    return incoming.write(b"12345") == 5 and _bio_pending(_memory(incoming)) == 5 and _bio_pending(_memory(outgoing)) == 0


cdef void* _pointer(inner) except? NULL:
    """The ``SSL`` of a connection. NULL: it is not where it is looked for."""
    cdef void** at
    cdef object context
    if type(inner) is not _inner_class:
        return NULL
    at = <void**>(<char*><void*>inner + _head)
    if at[0] is not NULL or at[1] is NULL or <size_t>at[1] % 8:
        return NULL
    context = inner.context
    if at[2] is not <void*>context or _context_of(at[1]) is not (<void**>(<char*><void*>context + _head))[0]:
        return NULL
    return at[1]


cdef void* _memory(memory) noexcept:
    """The ``BIO`` of an `ssl.MemoryBIO`, unless it has another form. NULL: it is not where it is looked for."""
    cdef void* bio = (<void**>(<char*><void*>memory + _head))[0]
    return NULL if bio is NULL or <size_t>bio % 8 or _bio_type(bio) != _MEMORY else bio


@cython.no_gc
cdef class Buffer:
    """See `engine.py`."""

    @property
    def pending(self):
        return _bio_pending(self._bio) if self._bio is not NULL else self._memory.pending

    cpdef bytes read(self):
        cdef size_t size
        cdef bytes octets
        if self._bio is NULL:
            return self._memory.read()
        size = _bio_pending(self._bio)
        if not size:
            return b""
        if size > _MOST:
            return self._memory.read()
        octets = PyBytes_FromStringAndSize(NULL, size)
        if _bio_read(self._bio, PyBytes_AS_STRING(octets), <int>size) != <int>size:
            raise MemoryError
        return octets

    cpdef write(self, data):
        cdef Py_ssize_t size
        if self._bio is not NULL and PyBytes_CheckExact(data):
            size = PyBytes_GET_SIZE(data)
            if 0 < size < _MOST and _bio_write(self._bio, PyBytes_AS_STRING(data), <int>size) == size:
                return size
        return self._memory.write(data)

    def write_eof(self):
        self._memory.write_eof()
        self._bio = NULL  # it takes no octets any more, and says so


@cython.no_gc
cdef class Engine:
    """See `engine.py`."""

    @property
    def session_reused(self):
        return self._made.session_reused

    def cipher(self):
        return self._made.cipher()

    cpdef do_handshake(self):
        cdef int done
        if self._ssl is not NULL:
            done = _ssl_do_handshake(self._ssl)
            if done == 1:
                return
            if _ssl_error(self._ssl, done) == _WANT_READ:
                raise SSLWantReadError(_WANT_READ, "The operation did not complete (read)")
        self._made.do_handshake()

    cpdef int pending(self) except -1:
        return _ssl_pending(self._ssl) if self._ssl is not NULL else self._made.pending()

    cpdef bytes read(self, Py_ssize_t size):
        cdef int count
        if self._ssl is not NULL and size > 0:
            count = _ssl_read(self._ssl, _BUFFER, <int>min(size, _ROOM))
            if count > 0:
                return PyBytes_FromStringAndSize(_BUFFER, count)
            if _ssl_error(self._ssl, count) == _WANT_READ:
                raise SSLWantReadError(_WANT_READ, "The operation did not complete (read)")
        return self._made.read(size)

    def selected_alpn_protocol(self):
        return self._made.selected_alpn_protocol()

    cpdef shutdown(self):
        cdef int done
        if self._ssl is not NULL:
            done = _ssl_shutdown(self._ssl)
            if done == 1:
                return
            if not done:
                raise SSLWantReadError(_WANT_READ, "The operation did not complete (read)")
        self._made.shutdown()

    cpdef version(self):
        cdef bytes name
        if self._ssl is not NULL and _ssl_is_shaken(self._ssl):
            name = _ssl_version(self._ssl)
            if name in _versions:
                return _versions[name]
        return self._made.version()

    cpdef Py_ssize_t write(self, data) except -1:
        cdef Py_buffer view
        cdef int count
        if self._ssl is not NULL:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
            count = _ssl_write(self._ssl, view.buf, <int>view.len) if 0 < view.len < _MOST else 0
            PyBuffer_Release(&view)
            if count > 0:
                return count
        return self._made.write(data)


cdef Engine _engine(inner):
    global _usable
    cdef Engine engine = Engine.__new__(Engine)
    engine._made = inner
    if _usable < 0:
        _usable = _reach() and _fits()
    engine._ssl = _pointer(inner) if _usable else NULL
    return engine


cpdef Engine engine_of(made):
    return _engine(getattr(made, "_sslobj", made))


cpdef Engine server_engine(context, incoming, outgoing):
    return _engine(context._wrap_bio(incoming, outgoing, True))


cpdef view_of(Engine engine):
    if engine is None:
        raise TypeError("no engine")
    view = SSLObject.__new__(SSLObject)
    view._sslobj = engine._made
    return view


cpdef bint shake(Engine engine) except -1:
    cdef int done
    if engine is None:
        raise TypeError("no engine")
    if engine._ssl is not NULL:
        done = _ssl_do_handshake(engine._ssl)
        if done == 1:
            return True
        if _ssl_error(engine._ssl, done) == _WANT_READ:
            return False
    try:
        engine._made.do_handshake()
    except SSLWantReadError:
        return False
    return True


cpdef take_leave(Engine engine):
    if engine is None:
        raise TypeError("no engine")
    if engine._ssl is not NULL and _ssl_shutdown(engine._ssl) >= 0:
        return
    try:
        engine._made.shutdown()
    except SSLError:
        return


cpdef tuple facts(Engine engine):
    cdef const unsigned char* chosen = NULL
    cdef unsigned int size = 0
    cdef void* cipher
    cdef bytes protocol
    if engine is None:
        raise TypeError("no engine")
    version = engine.version() or ""
    if engine._ssl is NULL:
        suite = engine._made.cipher()
        return version, suite[0] if suite else "", engine._made.selected_alpn_protocol() or "", bool(engine._made.session_reused)
    cipher = _cipher(engine._ssl)
    name = ""
    if cipher is not NULL:
        name = _suites.get(<size_t>cipher)
        if name is None:
            name = _suites[<size_t>cipher] = (<bytes>_cipher_name(cipher)).decode("ascii")
    _alpn(engine._ssl, &chosen, &size)
    protocol = chosen[:size] if size else b""
    return version, name, _protocols.get(protocol) or protocol.decode("ascii"), _is_resumed(engine._ssl) == 1


cpdef Buffer buffer_of(memory, Engine engine):
    cdef Buffer buffer = Buffer()
    cdef void* bio
    if engine is None:
        raise TypeError("a buffer belongs to an engine")
    buffer._memory = memory
    if engine._ssl is not NULL and type(memory) is MemoryBIO:
        bio = _memory(memory)
        if bio is not NULL and (bio is _reading(engine._ssl) or bio is _writing(engine._ssl)):
            buffer._bio = bio
    return buffer


cpdef bint shrink(Buffer buffer) except -1:
    cdef void* empty
    if buffer is None:
        raise TypeError("no buffer")
    if buffer._bio is NULL or _bio_pending(buffer._bio):
        return False
    empty = _memory_new()
    if empty is NULL:
        return False
    if _bio_control(buffer._bio, _SET_BUF_MEM, _OWNED, empty) != 1:
        _memory_free(empty)
        return False
    return True
