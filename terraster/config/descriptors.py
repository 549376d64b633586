"""The names that a configuration may use for a descriptor that Terraster inherited: ``stdout``, ``/dev/stderr``, ``/dev/fd/3`` …

Such a name means the open descriptor, not a file to open. The file behind it may belong to another user, and a socket (systemd's journal)
cannot be opened by a name at all.
"""

from __future__ import annotations

import _socket  # the plain class: that of gevent, where `socket` is patched, would set O_NONBLOCK for all who share the socket
import fcntl
import os
import re
import stat

__all__ = ["STDERR", "STDOUT", "behind", "described", "number", "spelt", "unusable"]

STDOUT, STDERR = "-", "/dev/fd/2"  # as a snapshot spells them

_WORDS = {"-": 1, "stdout": 1, "/dev/stdout": 1, "stderr": 2, "/dev/stderr": 2}
_NUMBERED = re.compile(r"/(?:dev|proc/self)/fd/(0|[1-9][0-9]{0,6})")
_LINKS = 8  # symbolic links that are followed to a name of a descriptor


def number(name: str) -> int | None:
    """The descriptor that a name means; None if it names a file."""
    known = _WORDS.get(name)
    if known is not None:
        return known
    match = _NUMBERED.fullmatch(name)
    return None if match is None else int(match[1])


def spelt(descriptor: int) -> str:
    """The one spelling that a snapshot has for a descriptor, so that all its names mean one destination."""
    return STDOUT if descriptor == 1 else f"/dev/fd/{descriptor}"


def behind(path: str) -> int | None:
    """The descriptor that a path leads to, by its name or by symbolic links to such a name; None if it is a file.

    In containers a log file is often a link to ``/dev/stdout``.
    """
    for _ in range(_LINKS):
        found = number(path)
        if found is not None:
            return found
        try:
            path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
        except OSError:  # not a link
            return None
    return None


def described(path: str) -> str:
    """A path for an operator: ``standard output``, ``standard error``, ``descriptor 3`` or the file's name."""
    found = number(path)
    if found is None:
        return path
    return {1: "standard output", 2: "standard error"}.get(found, f"descriptor {found}")


def unusable(descriptor: int) -> str:
    """Why log lines cannot be written to a descriptor of this process; "" if they can.

    From 3 on, only a descriptor that survived the start of the program is taken. One that is closed on exec was opened by Terraster
    itself: it may be a connection.
    """
    try:
        mode = os.fstat(descriptor).st_mode
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    except OSError:
        return "it is not open"
    if descriptor > 2 and fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
        return "Terraster did not inherit it"
    if stat.S_ISSOCK(mode):
        sock = _socket.socket(fileno=os.dup(descriptor))
        listens = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN)
        sock.close()
        return "it is a listening socket" if listens else ""
    return "it is open for reading only" if flags & os.O_ACCMODE == os.O_RDONLY else ""
