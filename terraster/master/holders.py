"""The process that holds a TCP port on this host, for an operator whose Terraster cannot have it: proc_net_tcp(5) and proc_pid_fd(5).

Every user may learn the owner of a listening socket. Only its owner and root may learn the process.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator

__all__ = ["holder"]

_LISTEN = "0A"


def holder(port: int) -> str:
    """The process that listens on a port, as a noun: "process 4711 (nginx)", "a process of user www-data"; "" if none is found."""
    users: dict[str, int] = dict(_listening(port))
    if not users:
        return ""
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        if pid != os.getpid() and not users.keys().isdisjoint(_sockets(pid)):
            return f"process {pid} ({_name(pid)})"
    return f"a process of user {_user(min(users.values()))}"


def _listening(port: int) -> Iterator[tuple[str, int]]:
    """Inode and user of each socket that listens on the port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as stream:
                rows = stream.readlines()[1:]
        except OSError:
            continue  # a kernel without IPv6
        for row in rows:
            fields = row.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9], int(fields[7])


def _sockets(pid: int) -> Iterator[str]:
    """The inodes of the sockets of a process, as far as they may be seen."""
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            if target.startswith("socket:["):
                yield target[8:-1]
    except OSError:
        return  # it has ended, or belongs to another user


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as stream:
            return stream.read().strip()
    except OSError:
        return "ended meanwhile"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
