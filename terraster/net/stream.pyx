# cython: wraparound=False, initializedcheck=False
"""The compiled twin of `stream.py`, with the same contract, which is written there.

It calls `recv` and `send` of the C library, without the interpreter's detour, and reads into one buffer of the process. It switches greenlets
by greenlet's C interface. A socket of another class than the interpreter's (tests have some) is used by its methods. That of a client is an
`Accepted` until the interpreter's is asked for.
"""

from math import inf as _inf
from os import strerror
from struct import pack
from typing import Protocol

from _socket import socket as _socket_class

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EAGAIN, EINTR, errno
from libc.math cimport INFINITY
from libc.string cimport memcpy

from .accepted cimport Accepted
from .duplex cimport Duplex
from .reactor cimport Reactor

cdef extern from "sys/socket.h" nogil:
    ssize_t c_recv "recv"(int, void*, size_t, int)
    ssize_t c_send "send"(int, const void*, size_t, int)
    int c_shutdown "shutdown"(int, int)
    int c_setsockopt "setsockopt"(int, int, int, const void*, unsigned int)
    enum: AF_UNIX, MSG_MORE, MSG_NOSIGNAL, MSG_PEEK, SHUT_WR, SOL_SOCKET, SO_LINGER

cdef extern from "netinet/in.h" nogil:
    enum: IPPROTO_TCP

cdef extern from "netinet/tcp.h" nogil:
    enum: TCP_QUICKACK

cdef extern from *:
    """
    #include "greenlet.h"
    static PyObject* current_greenlet(void) { return (PyObject*)PyGreenlet_GetCurrent(); }
    static PyObject* switch_to(PyObject* to) { return PyGreenlet_Switch((PyGreenlet*)to, NULL, NULL); }
    static int is_greenlet(PyObject* one) { return PyGreenlet_Check(one); }
    static int import_greenlet(void) { PyGreenlet_Import(); return _PyGreenlet_API == NULL ? -1 : 0; }
    """
    object current_greenlet()
    object switch_to(object)
    bint is_greenlet(object)
    int import_greenlet() except -1

import_greenlet()

__all__ = ["READ_SIZE", "Owner", "Stream", "getcurrent"]

cdef enum:
    _ROOM = 65536

READ_SIZE = _ROOM

cdef char[_ROOM] _BUFFER  # it is empty again before another greenlet can run


cpdef getcurrent():
    return current_greenlet()


class Owner(Protocol):
    """The callbacks of a stream into the connection that owns it, see `stream.py`."""

    def unexpected(self): ...

    def timed_out(self, writing): ...

    def lost(self): ...

    def waits_for_head(self): ...


cdef class Stream(Duplex):
    """See `stream.py`."""

    def __init__(self, Reactor reactor not None, sock):
        self.reactor = reactor
        self._sock = sock
        self.read_deadline = INFINITY
        self.write_deadline = INFINITY
        self._kept = b""
        self._descriptor = sock.fileno() if isinstance(sock, (Accepted, _socket_class)) else -1
        self._is_tcp = sock.family != AF_UNIX
        self._watcher = reactor.loop.io(sock.fileno(), 1)
        reactor.streams.add(self)

    @property
    def sock(self):
        if type(self._sock) is Accepted:
            self._sock = (<Accepted>self._sock).socket()
        return self._sock

    def listen(self):
        self._watcher.start(self.reactor.due.append, self)

    cpdef wake_reader(self):
        reader = self.reader
        if self.closed:
            return
        if reader is None:
            self.ready = True
            self._watcher.stop()
            self.owner.unexpected()
        else:
            self.reader = None
            self.read_deadline = INFINITY
            if is_greenlet(reader):
                switch_to(reader)
            else:
                reader.switch()

    def rearm(self):
        self.ready = False
        self._watcher.start(self.reactor.due.append, self)

    cpdef bytes peek(self):
        try:
            return self._receive(1, MSG_PEEK)
        except OSError:
            return b""

    cdef double _deadline(self, double timeout) except? -1:
        return self.reactor.horizon + timeout if timeout >= 1.0 else self.reactor.deadline(self, timeout)

    cdef int _wait_readable(self, double timeout) except -1:
        if self.ready:
            self.ready = False
            self._watcher.start(self.reactor.due.append, self)
            return 0
        self.read_deadline = self._deadline(timeout)
        reader = self.reader = current_greenlet()
        try:
            switch_to(self._next())
        except BaseException:
            self._stop_reading(reader)
            raise
        return 0

    cdef object _next(self):
        """The greenlet to switch to: the next one whose octets have arrived, which saves the way over the hub; else the hub."""
        cdef list due = self.reactor.due
        cdef Stream stream
        if due:
            stream = due[len(due) - 1]
            reader = stream.reader
            if reader is not None and is_greenlet(reader) and not stream.closed:
                due.pop()
                stream.reader = None
                stream.read_deadline = INFINITY
                return reader
        return self.reactor.hub

    cdef bytes _receive(self, Py_ssize_t size, int flags):
        """What has arrived; None if nothing has. Raises OSError."""
        cdef ssize_t count
        if self._descriptor < 0:
            try:
                return self.sock.recv(size, flags) if flags else self.sock.recv(size)
            except BlockingIOError:
                return None
        if size < 0:
            raise ValueError("negative buffersize in recv")
        if size > _ROOM:
            size = _ROOM
        while True:
            count = c_recv(self._descriptor, _BUFFER, size, flags)
            if count >= 0:
                return PyBytes_FromStringAndSize(_BUFFER, count)
            if errno == EAGAIN:
                return None
            if errno != EINTR:
                raise OSError(errno, strerror(errno))
            PyErr_CheckSignals()

    cpdef bytes recv(self, double timeout, Py_ssize_t size=_ROOM):
        cdef bytes octets
        while True:
            self._wait_readable(timeout)
            try:
                octets = self._receive(size, 0)
            except OSError as error:
                raise self.owner.lost() from error
            if octets is not None:
                return octets

    def recv_into(self, buffer, double timeout):
        cdef Py_buffer view
        cdef ssize_t count
        cdef int code
        while True:
            self._wait_readable(timeout)
            if self._descriptor < 0:
                try:
                    return self.sock.recv_into(buffer)
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise self.owner.lost() from error
            PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
            count = c_recv(self._descriptor, view.buf, view.len, 0)
            code = errno
            PyBuffer_Release(&view)
            if count >= 0:
                return count
            if code != EAGAIN and code != EINTR:
                raise self.owner.lost() from OSError(code, strerror(code))

    def attend(self, callback):
        self._watcher.stop()
        self.ready = False
        self._withdraw()
        if callback is None:
            self._watcher.start(self.reactor.due.append, self)
        else:
            self._watcher.start(callback)

    def ignore(self):
        self._watcher.stop()
        self._withdraw()

    def _withdraw(self):
        if self in self.reactor.due:
            self.reactor.due.remove(self)

    def recv_now(self):
        try:
            return self._receive(_ROOM, 0)
        except OSError as error:
            raise self.owner.lost() from error

    def send_now(self, bytes data not None):
        cdef Py_ssize_t sent
        if self._kept:
            data = self._kept + data
            self._kept = b""
        try:
            sent = self._put(data, 0, 0)
        except OSError as error:
            raise self.owner.lost() from error
        if sent < PyBytes_GET_SIZE(data):
            self._kept = data[sent:]
        return len(self._kept)

    @property
    def unsent(self):
        return len(self._kept)

    def on_writable(self, callback):
        watcher = self._write_watcher
        if watcher is None:
            if callback is None:
                return
            watcher = self._write_watcher = self.reactor.loop.io(self._sock.fileno(), 2)
        watcher.stop()
        if callback is not None:
            watcher.start(callback)

    cpdef Py_ssize_t offer(self, bytes data) except -1:
        return self._put(data, 0, 0)

    cpdef set_tcp_option(self, int name, int value):
        if not self._is_tcp:
            return
        if self._descriptor < 0:
            self.sock.setsockopt(IPPROTO_TCP, name, value)
        elif c_setsockopt(self._descriptor, IPPROTO_TCP, name, &value, sizeof(value)) < 0:
            raise OSError(errno, strerror(errno))

    cpdef quick_ack(self):
        self.set_tcp_option(TCP_QUICKACK, 1)

    def hasten(self, double seconds):
        if self.reader is not None:
            self.read_deadline = min(self.read_deadline, self.reactor.horizon + seconds)

    def end_wait(self, error):
        reader = self.reader
        if reader is None:
            return False
        self.reader = None
        self.read_deadline = INFINITY
        reader.throw(error)
        return True

    def abandon(self, reader):
        if self.reader is reader:
            self.reader = None
            self.read_deadline = INFINITY

    cdef int _stop_reading(self, reader) except -1:
        if self.reader is None or self.reader is reader:
            self.reader = None
            self.read_deadline = INFINITY
        return 0

    cdef Py_ssize_t _put(self, data, Py_ssize_t start, int flags) except -1:
        """Send octets from ``start`` on, as far as the socket takes them. Returns how many it took. Raises OSError."""
        cdef Py_buffer view
        cdef ssize_t sent
        cdef int code
        if self._descriptor < 0:
            rest = memoryview(data)[start:] if start else data
            try:
                return self.sock.send(rest, flags) if flags else self.sock.send(rest)
            except BlockingIOError:
                return 0
        while True:
            if PyBytes_CheckExact(data):
                sent = c_send(self._descriptor, PyBytes_AS_STRING(data) + start, PyBytes_GET_SIZE(data) - start, flags | MSG_NOSIGNAL)
                code = errno
            else:
                PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
                sent = c_send(self._descriptor, <char*>view.buf + start, view.len - start, flags | MSG_NOSIGNAL)
                code = errno
                PyBuffer_Release(&view)
            if sent >= 0:
                return sent
            if code == EAGAIN:
                return 0
            if code != EINTR:
                raise OSError(code, strerror(code))
            PyErr_CheckSignals()

    cdef Py_ssize_t _put_both(self, bytes data, bytes more) except -1:
        """The same for octets that have room in the buffer, which costs less than new octets of both."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data), rest = PyBytes_GET_SIZE(more)
        cdef ssize_t sent
        while True:
            memcpy(_BUFFER, PyBytes_AS_STRING(data), size)
            memcpy(_BUFFER + size, PyBytes_AS_STRING(more), rest)
            sent = c_send(self._descriptor, _BUFFER, size + rest, MSG_NOSIGNAL)
            if sent >= 0:
                return sent
            if errno == EAGAIN:
                return 0
            if errno != EINTR:
                raise OSError(errno, strerror(errno))
            PyErr_CheckSignals()

    cpdef bint send(self, data, double timeout, bytes more=b"") except -1:
        cdef Py_ssize_t sent
        try:
            if not more:
                sent = self._put(data, 0, 0)
            elif self._descriptor >= 0 and PyBytes_CheckExact(data) and PyBytes_GET_SIZE(data) + PyBytes_GET_SIZE(more) <= _ROOM:
                sent = self._put_both(data, more)
                if sent == PyBytes_GET_SIZE(data) + PyBytes_GET_SIZE(more):
                    return False
                data = data + more
            else:
                data = data + more
                sent = self._put(data, 0, 0)
        except OSError as error:
            lost = self.owner.lost()
            lost.unsent = True
            raise lost from error
        if sent == len(data):
            return False
        self._send_rest(data, sent, timeout)
        return True

    def send_last(self, data, double timeout):
        cdef Py_ssize_t sent
        try:
            sent = self._put(data, 0, MSG_MORE)
        except OSError as error:
            raise self.owner.lost() from error
        if sent == len(data):
            return False
        self._send_rest(data, sent, timeout)
        return True

    cdef int _send_rest(self, data, Py_ssize_t sent, double timeout) except -1:
        rest = bytes(memoryview(data)[sent:])  # the caller's buffer may be shared
        cdef Py_ssize_t at = 0
        while at < len(rest):
            self.wait_writable(timeout)
            try:
                at += self._put(rest, at, 0)
            except OSError as error:
                raise self.owner.lost() from error
        return 0

    def wait_writable(self, double timeout):
        watcher = self._write_watcher
        if watcher is None:
            watcher = self._write_watcher = self.reactor.loop.io(self._sock.fileno(), 2)
        self.write_deadline = self._deadline(timeout)
        self.writer = current_greenlet()
        watcher.start(self.writer.switch)
        try:
            switch_to(self.reactor.hub)
        finally:
            if not self.closed:  # a greenlet that closed the stream meanwhile has freed the watcher
                watcher.stop()
            self.writer = None
            self.write_deadline = INFINITY

    @property
    def writes(self):
        return self.writer is not None

    def next_deadline(self):
        return min(self.read_deadline, self.write_deadline)

    def overdue(self, double now):
        if self.read_deadline < now and self.reader is not None:
            self.read_deadline = INFINITY
            reader, self.reader = self.reader, None
            reader.throw(self.owner.timed_out(False))
        if self.write_deadline < now and self.writer is not None:
            self.write_deadline = INFINITY
            self.writer.throw(self.owner.timed_out(True))

    def wait_no_longer_than(self, double timeout):
        if self.reader is not None and timeout:
            self.read_deadline = self._deadline(timeout)

    def reset_on_close(self):
        self.sock.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))

    def shutdown(self):
        if self._descriptor >= 0:
            c_shutdown(self._descriptor, SHUT_WR)
            return
        try:
            self.sock.shutdown(SHUT_WR)
        except OSError:
            return

    cpdef close(self):
        if self.closed:
            return
        self.closed = True
        self.reactor.streams.discard(self)
        self._watcher.stop()
        self._watcher.close()
        if self._write_watcher is not None:
            self._write_watcher.stop()
            self._write_watcher.close()
            self._write_watcher = None
        self._descriptor = -1  # the kernel may give the number to another socket
        self._sock.close()
