"""Accepting a client without the interpreter's detour: one system call, and an object of the interpreter only for those that need one.

A socket of the interpreter asks the kernel for its name when it is made, and again to become non-blocking.
"""

from os import strerror

from _socket import socket as _socket_class

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EAGAIN, ECONNRESET, EINTR, errno
from libc.string cimport memset, strncmp

cdef extern from "sys/socket.h" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_storage:
        pass
    int c_accept4 "accept4"(int, sockaddr*, socklen_t*, int)
    int c_getsockopt "getsockopt"(int, int, int, void*, socklen_t*)
    enum: AF_INET, AF_INET6, AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK

cdef extern from "netinet/in.h" nogil:
    enum: IPPROTO_TCP
    struct sockaddr_in:
        unsigned short sin_port
        int sin_addr
    struct sockaddr_in6:
        unsigned short sin6_port
        int sin6_addr

cdef extern from "netinet/tcp.h" nogil:
    struct tcp_info:
        unsigned int tcpi_unacked, tcpi_sacked
    enum: TCP_INFO

cdef extern from "arpa/inet.h" nogil:
    const char* inet_ntop(int, const void*, char*, socklen_t)
    unsigned short ntohs(unsigned short)

cdef extern from "unistd.h" nogil:
    int c_close "close"(int)

__all__ = ["Accepted", "accept", "waiting"]


cdef class Accepted:
    """The connected, non-blocking socket of a client, which closes with its last reference.

    family: as of a socket
    """

    def __cinit__(self):
        self._descriptor = -1

    def __dealloc__(self):
        if self._descriptor >= 0:
            c_close(self._descriptor)

    def fileno(self):
        """Its descriptor, -1 once it is closed or a socket of the interpreter has it."""
        return self._descriptor

    cpdef close(self):
        """Close it. Idempotent. Raises OSError."""
        cdef int descriptor = self._descriptor
        self._descriptor = -1
        if descriptor >= 0 and c_close(descriptor) < 0 and errno != ECONNRESET:
            raise OSError(errno, strerror(errno))

    cdef socket(self):
        """A socket of the interpreter, which has the descriptor from now on. One that is closed if this is. Raises OSError."""
        if self._descriptor < 0:
            return _socket_class.__new__(_socket_class)
        made = _socket_class(self.family, self._kind, self._protocol, self._descriptor)
        self._descriptor = -1
        made.setblocking(False)
        return made


def accept(int listening, int family, int kind, int protocol):
    """Accept from a listening descriptor: (`Accepted`, peer address, peer port); None if no client waits. Raises OSError.

    The address is "unix", with port 0, on a unix socket; one of IPv4 is written as such although the socket is of IPv6.
    """
    cdef sockaddr_storage peer
    cdef socklen_t size
    cdef int descriptor
    cdef char[64] text
    cdef const char* written
    cdef unsigned short port
    while True:
        size = sizeof(peer)
        memset(&peer, 0, sizeof(peer))
        descriptor = c_accept4(listening, <sockaddr*>&peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK)
        if descriptor >= 0:
            break
        if errno == EAGAIN:
            return None
        if errno != EINTR:
            raise OSError(errno, strerror(errno))
        PyErr_CheckSignals()
    cdef Accepted made = Accepted.__new__(Accepted)
    made._descriptor = descriptor
    made.family, made._kind, made._protocol = family, kind, protocol
    if family == AF_UNIX:
        return made, "unix", 0
    if family == AF_INET:
        written = inet_ntop(AF_INET, &(<sockaddr_in*>&peer).sin_addr, text, sizeof(text))
        port = ntohs((<sockaddr_in*>&peer).sin_port)
    else:
        written = inet_ntop(AF_INET6, &(<sockaddr_in6*>&peer).sin6_addr, text, sizeof(text))
        port = ntohs((<sockaddr_in6*>&peer).sin6_port)
    if written == NULL:
        raise OSError(errno, strerror(errno))
    if strncmp(written, b"::ffff:", 7) == 0:
        written += 7
    return made, written.decode("ascii"), port


def waiting(int listening):
    """The number of connections that wait at a listening TCP socket; -1 if the kernel does not say."""
    cdef tcp_info info
    cdef socklen_t size = sizeof(info)
    info.tcpi_sacked = 0
    if c_getsockopt(listening, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 or info.tcpi_sacked == 0:
        return -1
    return info.tcpi_unacked
