"""Values of the kernel, read below a root: `/proc`, or a folder that a test has written. A value that is not there is None: kernels and
containers lack some."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Listening", "Proc", "Process"]

_LISTEN = "0A"


class Process(NamedTuple):
    """open: its file descriptors, None: they may not be counted. limit: of these, 0: none. user: its number"""

    pid: int
    name: str
    open: int | None
    limit: int
    user: int


class Listening(NamedTuple):
    """A listening TCP socket. waiting: connections that nobody has accepted yet"""

    port: int
    waiting: int


class Proc:
    """The files below a root."""

    def __init__(self, root: str = "/proc") -> None:
        self._root = root

    def text(self, path: str) -> str | None:
        try:
            with open(os.path.join(self._root, path), encoding="ascii", errors="replace") as stream:
                return stream.read()
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """The first number of a file."""
        words = (self.text(path) or "").split()
        return int(words[0]) if words and words[0].lstrip("-").isdigit() else None

    def numbers(self, path: str) -> tuple[int, ...]:
        """All numbers of a file."""
        return tuple(int(word) for word in (self.text(path) or "").split() if word.isdigit())

    def named(self, path: str) -> dict[str, int]:
        """A file with lines ``NAME: VALUE …`` or ``NAME VALUE``."""
        found = {}
        for line in (self.text(path) or "").splitlines():
            words = line.replace(":", " ", 1).split()
            if len(words) > 1 and words[1].isdigit():
                found[words[0]] = int(words[1])
        return found

    def counters(self, path: str) -> dict[str, int]:
        """`net/netstat` and `net/snmp`: a line of names, then a line of values, for each group."""
        found: dict[str, int] = {}
        lines = (self.text(path) or "").splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=False):
            pairs = zip(names.split()[1:], values.split()[1:], strict=False)
            found |= {name: int(value) for name, value in pairs if value.lstrip("-").isdigit()}
        return found

    def sockets(self) -> dict[str, int]:
        """The line TCP of `net/sockstat`: ``inuse orphan tw alloc mem``."""
        for line in (self.text("net/sockstat") or "").splitlines():
            words = line.split()
            if words[:1] == ["TCP:"]:
                return {name: int(value) for name, value in zip(words[1::2], words[2::2], strict=False)}
        return {}

    def listening(self) -> Iterator[Listening]:
        """The listening TCP sockets of this network namespace."""
        for path in ("net/tcp", "net/tcp6"):
            for line in (self.text(path) or "").splitlines()[1:]:
                words = line.split()
                if len(words) > 4 and words[3] == _LISTEN:
                    yield Listening(int(words[1].rpartition(":")[2], 16), int(words[4].partition(":")[2], 16))

    def process(self, pid: int, name: str) -> Process | None:
        """None: it is not there."""
        limits, status = self.text(f"{pid}/limits"), self.text(f"{pid}/status")
        if limits is None or status is None:
            return None
        soft = next((line.split()[3] for line in limits.splitlines() if line.startswith("Max open files")), "0")
        user = next((line.split()[2] for line in status.splitlines() if line.startswith("Uid:")), "0")  # the effective one
        try:
            count = len(os.listdir(os.path.join(self._root, str(pid), "fd")))
        except OSError:
            count = None
        return Process(pid, name, count, int(soft) if soft.isdigit() else 0, int(user))
