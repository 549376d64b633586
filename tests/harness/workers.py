"""The worker processes of a running Terraster: which of them a connection came to, and one that stands still."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .client import Connection
from .terraster_process import Terraster
from .waiting import wait_until

__all__ = ["by_worker", "frozen"]

_MOST = 400  # connections after which it is not chance any more that a worker has none
_INODE = 9  # column of /proc/net/tcp


def by_worker(proxy: Terraster, count: int = 1, deadline: float = 30.0) -> dict[int, list[Connection]]:
    """Connections of clients, by process id, at least ``count`` of each proxy worker. The kernel hands them to whoever wakes first, so
    there are opened as many as it takes."""
    pids = proxy.workers()
    end = time.monotonic() + deadline
    opened: list[Connection] = []
    while True:
        opened += [proxy.connect() for _ in range(2 * len(pids))]
        found: dict[int, list[Connection]] = {pid: [] for pid in pids}
        for connection in opened:
            found[_owner(proxy, pids, connection, end)].append(connection)
        if min(map(len, found.values())) >= count:
            return found
        assert len(opened) < _MOST and time.monotonic() < end, {pid: len(some) for pid, some in found.items()}


def _owner(proxy: Terraster, pids: list[int], connection: Connection, end: float) -> int:
    """The worker that has accepted a connection, as soon as one has."""
    port = connection.sock.getsockname()[1]

    def owner() -> int | None:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ends = {(int(row[1][-4:], 16), int(row[2][-4:], 16)): row[_INODE] for row in rows}
        inode = ends.get((proxy.port, port), "0")
        for pid in pids:
            for name in os.listdir(f"/proc/{pid}/fd"):
                with suppress(FileNotFoundError):
                    if os.readlink(f"/proc/{pid}/fd/{name}") == f"socket:[{inode}]":
                        return pid
        return None

    found = wait_until(owner, "somebody who accepts the connection", end - time.monotonic())
    assert found is not None
    return found


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that stands still (SIGSTOP) meanwhile. What happens then is all there at once when it goes on."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
