"""Adoption: a new master takes over from the workers of one that was killed their listening sockets, the shared table, and its leases.

    look ─▶ describe every orphan ─▶ listeners, table ─▶ … start as ever … ─▶ all own children serve ─▶ dismiss

The orphans (`terraster.worker.orphan`) go on serving until they are dismissed. If this master cannot start, they are as before, and wait
for the next one. Only the master that holds the lock on the pid file looks for orphans, so no two masters adopt the same ones.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent import socket

from terraster.errors import TerrasterError
from terraster.logs.program import ProgramLog
from terraster.state.table import Table
from terraster.worker.channel import Channel
from terraster.worker.orphan import PREFIX, peer

from .listeners import Listeners

__all__ = ["Adoption"]

_PATIENCE = 2.0  # seconds for an orphan to answer
_MISSING = 1.0  # seconds that are waited for orphans which must be there, because their ports are taken
_PAUSE = 0.05  # seconds between two looks for an orphan that has not found out yet that its master is dead


class _Orphan:
    """One orphan that answered. The descriptors are ours."""

    __slots__ = ("channel", "pid", "role", "generation", "activated", "table", "listeners")

    def __init__(self, channel: Channel, told: dict[str, Any], descriptors: list[int]) -> None:
        self.channel = channel
        self.pid: int = told["pid"]
        self.role: str = told["role"]
        self.generation: int = told["generation"]
        self.activated: bool = told["activated"]
        self.table = descriptors[0]
        self.listeners: dict[str, int] = dict(zip(told["listeners"], descriptors[1:], strict=True))


class Adoption:
    """The orphans of one runtime directory. Master only.

    runtime_dir: see `terraster.master.pidfile.runtime_directory`, which nobody else can write to
    """

    def __init__(self, runtime_dir: str, log: ProgramLog) -> None:
        self._directory = runtime_dir
        self._log = log
        self._orphans: dict[str, _Orphan] = {}  # by the path of its socket

    def __bool__(self) -> bool:
        return bool(self._orphans)

    @property
    def activated(self) -> bool:
        """True if the service manager owns the listening sockets."""
        return any(one.activated for one in self._orphans.values())

    def take_over(self, listeners: Listeners, wanted: list[str]) -> None:
        """Find the orphans, and give their listening sockets to ``listeners``. wanted: the addresses that it will need"""
        self.look(lambda: not self._lacking(listeners, wanted))

    def _lacking(self, listeners: Listeners, wanted: list[str]) -> list[str]:
        listeners.adopt(self.listeners(), self.activated)
        return listeners.lacking(wanted)

    def look(self, complete: Callable[[], bool]) -> None:
        """Find the orphans. complete: ``complete()``: True if none is missing, as far as one can know. A worker whose master died a moment ago
        may not have found that out yet, so it is waited for a little."""
        self._look()
        until = time.monotonic() + _MISSING
        while not complete() and time.monotonic() < until:
            gevent.sleep(_PAUSE)
            self._look()

    def listeners(self) -> dict[str, int]:
        """Address → descriptor of a listening socket, which belongs to the caller from now on. Empty at the second call."""
        found: dict[str, int] = {}
        for one in self._orphans.values():
            for address, descriptor in one.listeners.items():
                if address in found:
                    os.close(descriptor)
                else:
                    found[address] = descriptor
            one.listeners = {}
        return found

    def table(self) -> tuple[Table, dict[str, Any]] | None:
        """The table of the orphans, and what they know of its slots (`terraster.worker.orphan.known_slots`). None if there are no orphans,
        or if this version does not understand their table; the log then says so."""
        orphans = sorted(self._orphans.values(), key=lambda one: one.generation)
        table, known = None, None
        if orphans:
            newest = orphans[-1]
            try:
                known = self._ask(newest, ("leases",))
                table = Table.adopt(os.dup(newest.table))
            except (TerrasterError, ValueError) as error:
                self._log.warning("counters begin anew: the shared table of the workers before cannot be used: %s", error)
        for one in orphans:
            os.close(one.table)
        return (table, known) if table is not None and known is not None else None

    def dismiss(self, wait: float = 0.0) -> None:
        """Tell all orphans to drain and leave. wait: seconds to wait until they have"""
        if self._orphans:
            self._log.info("%d workers of a master that has gone drain and leave", len(self._orphans))
        for one in self._orphans.values():
            try:
                one.channel.send(("leave",))
            except TerrasterError:
                continue  # it has gone
        if wait:
            gevent.joinall([gevent.spawn(_until_gone, one.channel) for one in self._orphans.values()], timeout=wait)
        self.close()

    def close(self) -> None:
        """Let go of the orphans, and leave them as they are."""
        for one in self._orphans.values():
            one.channel.close()
        self._orphans = {}

    def abandon(self) -> None:
        """In a forked child: close what it inherited. An open end would keep the orphans waiting."""
        for one in self._orphans.values():
            one.channel.abandon()

    def _look(self) -> None:
        """Talk to every orphan that is there and was not found yet."""
        paths = [os.path.join(self._directory, name) for name in sorted(os.listdir(self._directory)) if _is_orphan(name)]
        found = [gevent.spawn(self._meet, path) for path in paths if path not in self._orphans]
        gevent.joinall(found)

    def _meet(self, path: str) -> None:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        one.settimeout(_PATIENCE)
        try:
            one.connect(path)
            if peer(one) not in (os.geteuid(), 0):
                raise OSError("it belongs to another user")
        except ConnectionRefusedError:
            one.close()
            _remove(path)
            return
        except OSError as error:
            one.close()
            self._log.warning("%s: no worker answers there: %s", path, error)
            return
        channel = Channel(one.detach())
        try:
            with gevent.Timeout(_PATIENCE, TimeoutError()):
                channel.send(("describe",))
                (_name, told), descriptors = channel.receive()
            self._orphans[path] = _Orphan(channel, told, descriptors)
        except (TerrasterError, TimeoutError) as error:
            channel.close()
            self._log.warning("%s: the worker there does not answer: %s", path, error or f"{_PATIENCE:g} s are over")

    def _ask(self, orphan: _Orphan, question: tuple[str, ...]) -> Any:
        try:
            with gevent.Timeout(_PATIENCE * 5, TimeoutError()):
                orphan.channel.send(question)
                return orphan.channel.receive()[0][1]
        except TimeoutError as error:
            raise TerrasterError(f"worker {orphan.pid} does not answer") from error


def _until_gone(channel: Channel) -> None:
    """Wait until the process at the other end has ended."""
    try:
        while True:
            channel.receive()
    except TerrasterError:
        return


def _is_orphan(name: str) -> bool:
    return name.startswith(PREFIX) and name.endswith(".sock")


def _remove(path: str) -> None:
    """Remove the socket of an orphan that was killed."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
