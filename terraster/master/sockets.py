"""A listening socket: bound to an address, or taken over by its descriptor; and the file of a unix socket.

Addresses are written as in the configuration; `terraster.master.listeners` describes them. Sockets are plain ones, never gevent's.
"""

from __future__ import annotations

import errno
import glob
import os
import socket
import stat
from contextlib import suppress

from gevent import monkey

__all__ = ["BACKLOG", "adopt", "bind", "forget_dead", "inode", "is_at", "name", "parse", "unlink"]

BACKLOG = 4096  # connections waiting to be accepted; the kernel caps it at net.core.somaxconn


def parse(address: str) -> tuple[socket.AddressFamily, tuple[str, int] | str]:
    """The family and name to bind for an address. An empty host (every address) comes back as AF_INET6 and ("::", port)."""
    if address.startswith("unix:"):
        return socket.AF_UNIX, address[len("unix:") :]
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host:
        return socket.AF_INET6, ("::", int(port))
    return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, int(port))


def _plain(family: int, fd: int | None = None) -> socket.socket:
    make: type[socket.socket] = monkey.get_original("socket", "socket")
    return make(family, socket.SOCK_STREAM) if fd is None else make(fileno=fd)


def adopt(fd: int) -> socket.socket:
    one = _plain(0, fd)
    _send_at_once(one)
    one.set_inheritable(False)
    one.setblocking(False)
    return one


def _send_at_once(one: socket.socket) -> None:
    """Turn Nagle's algorithm off, for the connections that are accepted on it too: they inherit the option, so no request pays for it."""
    if one.family != socket.AF_UNIX:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def bind(address: str, mode: int | None = None) -> socket.socket:
    """Raises OSError."""
    family, where = parse(address)
    if isinstance(where, str):
        return _bind_path(where, 0o666 if mode is None else mode)
    everywhere = address.startswith(":")
    try:
        return _bind_port(family, where, dual=everywhere)
    except OSError as error:
        if everywhere and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # a host without IPv6
            return _bind_port(socket.AF_INET, ("0.0.0.0", where[1]), dual=False)
        raise


def _bind_port(family: int, where: tuple[str, int], *, dual: bool) -> socket.socket:
    one = _plain(family)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        _send_at_once(one)
        one.bind(where)
        one.listen(BACKLOG)
        one.setblocking(False)
    except BaseException:
        one.close()
        raise
    return one


def _bind_path(path: str, mode: int) -> socket.socket:
    """``mode``: whatever the umask; the mode of the directory keeps out clients that may not connect, as with nginx."""
    _remove_stale(path)
    one = _plain(socket.AF_UNIX)
    before = os.umask(0o777 & ~mode)
    try:
        one.bind(path)
        one.listen(BACKLOG)
        one.setblocking(False)
    except BaseException:
        one.close()
        raise
    finally:
        os.umask(before)
    return one


def _remove_stale(path: str) -> None:
    """Remove a socket file without a listener. Raises OSError if a process listens on it, or if it is not a socket."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.EEXIST, "the path exists and is not a socket")
    with _plain(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:  # its backlog is full: very much in use
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def forget_dead(path: str) -> None:
    """Remove the sockets that masters bound beside this path, and died before they were promoted."""
    for beside in glob.glob(f"{glob.escape(path)}.*"):
        with suppress(OSError):  # a master listens there, or it is not ours
            _remove_stale(beside)


def unlink(address: str) -> None:
    if address.startswith("unix:"):
        try:
            os.unlink(address.removeprefix("unix:"))
        except FileNotFoundError:
            return


def inode(address: str) -> tuple[int, int]:
    """Device and inode of the file of a unix socket; zeros if there is none."""
    try:
        status = os.lstat(address.removeprefix("unix:"))
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def name(one: socket.socket) -> str:
    name = one.getsockname()
    return f"unix:{name}" if isinstance(name, str) else f"{name[0]}:{name[1]}"


def is_at(one: socket.socket, address: str) -> bool:
    name = one.getsockname()
    family, where = parse(address)
    if isinstance(where, str) or isinstance(name, str):
        return bool(name == where)
    if address.startswith(":"):
        return name[0] in ("::", "0.0.0.0") and name[1] == where[1]
    return bool(one.family == family and tuple(name[:2]) == where)
