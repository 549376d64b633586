"""Adoption: a new master takes over from the workers of one that was killed their listening sockets, the shared table, and its leases.

    look ─▶ describe every orphan ─▶ listeners, table ─▶ … start as ever … ─▶ all own children serve ─▶ dismiss ─▶ dismiss_late

Orphans may also appear beside a master that serves, when the other master of an upgrade is killed. Those that share its table leave by
themselves. Those of a version with another table cannot know that a master serves, so this one looks for them all the while.

The orphans (`terraster.worker.orphan`) go on serving until they are dismissed. If this master cannot start, they are as before, and wait
for the next one. Only the master that holds the lock on the pid file looks for orphans, so no two masters adopt the same ones.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable, Set
from contextlib import suppress
from typing import Any

import gevent
from gevent import socket

from terraster.errors import TerrasterError
from terraster.logs.program import ProgramLog
from terraster.state.alive import began, lives
from terraster.state.known import Known, checked, merged
from terraster.state.table import Table
from terraster.worker.channel import Channel
from terraster.worker.orphan import PREFIX, peer

from .listeners import Listeners
from .shared import COUNTERS

__all__ = ["Adoption"]

_PATIENCE = 2.0  # seconds for an orphan to answer
_MISSING = 1.0  # seconds that are waited for orphans which must be there, because their ports are taken
_PAUSE = 0.05  # seconds between two looks for an orphan that has not found out yet that its master is dead


class _Orphan:
    """One orphan that answered.

    pid:   of its process, as the kernel knows it
    age: of what it knows: when its master began, and its generation; the greatest is the newest
    table, listeners: descriptors, which are ours; table: -1 once it is closed
    """

    __slots__ = ("channel", "pid", "age", "activated", "table", "listeners", "_began")

    def __init__(self, channel: Channel, pid: int, answer: Any, descriptors: list[int]) -> None:
        """Raises ValueError if an orphan does not answer so. Then the descriptors are still the caller's."""
        match answer:
            case (
                "orphan",
                {"generation": int(generation), "activated": bool(activated), "listeners": list(names)} as told,
            ):
                of_master = told.get("began", 0)  # a version before does not tell
            case _:
                raise ValueError("it does not describe itself as a worker does")
        if len(descriptors) != 1 + len(names) or not all(isinstance(name, str) for name in names) or not isinstance(of_master, int):
            raise ValueError("what it says of its descriptors is not right")
        if not all(stat.S_ISSOCK(os.fstat(one).st_mode) for one in descriptors[1:]):
            raise ValueError("what it hands over as listening sockets is something else")
        self.channel = channel
        self.pid = pid
        self._began = began(pid)
        self.age = of_master, generation
        self.activated: bool = activated
        self.table = descriptors[0]
        self.listeners: dict[str, int] = dict(zip(names, descriptors[1:], strict=True))

    def lives(self) -> bool:
        """True if its process has not ended."""
        return lives(self.pid, self._began)

    def close_table(self) -> None:
        if self.table >= 0:
            os.close(self.table)
            self.table = -1

    def close(self) -> None:
        """Close all that is ours."""
        self.channel.close()
        self.close_table()
        for descriptor in self.listeners.values():
            os.close(descriptor)
        self.listeners = {}

    def which_table(self) -> tuple[int, int]:
        """Equal for two that have the same table."""
        status = os.fstat(self.table)
        return status.st_dev, status.st_ino


class Adoption:
    """The orphans of one runtime directory. Master only.

    runtime_dir: see `terraster.master.pidfile.runtime_directory`, which nobody else can write to
    """

    def __init__(self, runtime_dir: str, log: ProgramLog) -> None:
        self._directory = runtime_dir
        self._log = log
        self._orphans: dict[str, _Orphan] = {}  # by the path of its socket
        self._strange: dict[str, str] = {}  # path → why nothing can be had from there, as it was logged
        self._told: set[str] = set()  # paths of orphans that were told to leave
        self._late: gevent.Greenlet | None = None

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
        if self._late is not None:
            self._late.kill()
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

    def table(self) -> tuple[Table, Known] | None:
        """The table of the orphans, and what they know of its slots. None if there are no orphans, or if this version understands no table of
        theirs; the log then says so. Called once.

        There may be several tables, of masters of different versions: the newest that can be used counts. In one table there may be
        orphans of several masters: each master knew slots that the others did not know.
        """
        orphans = sorted(self._orphans.values(), key=_age, reverse=True)
        tables: dict[tuple[int, int], list[_Orphan]] = {}
        for one in orphans:
            tables.setdefault(one.which_table(), []).append(one)
        found, refused = None, ""
        for those in tables.values():
            try:
                found = self._use(those)
                break
            except (TerrasterError, OSError, ValueError) as error:
                refused = refused or str(error)
        if refused and found is None:
            self._log.warning("counters begin anew: the shared table of the workers before cannot be used: %s", refused)
        elif refused:
            self._log.warning("counters go on from an older shared table: that of the newest workers cannot be used: %s", refused)
        for one in orphans:
            one.close_table()
        return found

    def _use(self, orphans: list[_Orphan]) -> tuple[Table, Known]:
        """The table that these orphans have, newest first, and what the newest of each master knows. Raises OSError, ValueError, and
        TerrasterError if none of them answers."""
        descriptor = os.dup(orphans[0].table)
        try:
            table = Table.adopt(descriptor, COUNTERS)
            known: dict[int, Known] = {}
            failed = ""
            for one in orphans:
                if one.age[0] not in known:
                    try:
                        known[one.age[0]] = checked(self._ask(one, "leases"), table)
                    except (TerrasterError, ValueError) as error:
                        failed = failed or str(error)
                        self._log.warning("%s", error)
            if failed and not known:
                raise TerrasterError(failed)
        except BaseException:
            os.close(descriptor)
            raise
        return table, merged(list(known.values()))

    def dismiss(self, wait: float = 0.0) -> None:
        """Tell all orphans to drain and leave. wait: seconds to wait until they have; those that are late are killed"""
        if self._orphans:
            count = len(self._orphans)
            self._log.info("%d worker%s of a master that has gone: told to drain and leave", count, "s" * (count != 1))
        for path, one in self._orphans.items():
            self._told.add(path)
            try:
                one.channel.send(("leave",))
            except TerrasterError:
                continue  # it has gone
        if wait:
            gevent.joinall([gevent.spawn(_until_gone, one.channel) for one in self._orphans.values()], timeout=wait)
            self.end(signal.SIGKILL)
        self.close()

    def dismiss_late(self) -> None:
        """Dismiss the orphans that have appeared since the last call. Called at every turn of a master that serves; it does not wait."""
        paths = self._paths()
        self._told &= paths
        if self._told != paths and (self._late is None or self._late.dead):
            self._late = gevent.spawn(self._dismiss_late)

    def _dismiss_late(self) -> None:
        self._look(self._told)
        self.dismiss()

    def end(self, number: int) -> list[int]:
        """Send a signal (0: none) to the orphans that were found. Returns the pids of those that still live."""
        left = []
        for path, one in self._orphans.items():
            if one.lives():
                left.append(one.pid)
                with suppress(ProcessLookupError):
                    os.kill(one.pid, number)
            else:
                _remove(path)
        return left

    def close(self) -> None:
        """Let go of the orphans, and leave them as they are."""
        for one in self._orphans.values():
            one.close()
        self._orphans = {}

    def abandon(self) -> None:
        """In a forked child: close what it inherited. An open end would keep the orphans waiting."""
        for one in self._orphans.values():
            one.channel.abandon()

    def _paths(self) -> set[str]:
        """The sockets of orphans. None are there if the runtime directory was removed."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return set()
        return {os.path.join(self._directory, name) for name in names if _is_orphan(name)}

    def _look(self, without: Set[str] = frozenset()) -> None:
        """Talk to every orphan that is there and was not found yet."""
        paths = self._paths() - self._orphans.keys() - without
        gevent.joinall([gevent.spawn(self._meet, path) for path in sorted(paths)])

    def _meet(self, path: str) -> None:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        one.settimeout(_PATIENCE)
        try:
            one.connect(path)
            pid, uid = peer(one)
            if uid not in (os.geteuid(), 0):
                raise OSError("it belongs to another user")
        except ConnectionRefusedError:
            one.close()
            _remove(path)
            return
        except OSError as error:
            one.close()
            self._complain(path, "no worker answers there", error)
            return
        channel = Channel(one.detach())
        descriptors: list[int] = []
        try:
            with gevent.Timeout(_PATIENCE, TimeoutError(f"{_PATIENCE:g} s are over")):
                channel.send(("describe",))
                answer, descriptors = channel.receive()
            self._orphans[path] = _Orphan(channel, pid, answer, descriptors)
        except Exception as error:  # it may be anything, and reading a message of another version may fail in any way
            channel.close()
            for descriptor in descriptors:
                os.close(descriptor)
            self._complain(path, "the worker there does not answer as it should", error)

    def _complain(self, path: str, what: str, error: Exception) -> None:
        """Log why nothing can be had from an orphan: once, as it is looked for again and again."""
        reason = f"{what}: {error or type(error).__name__}"
        if self._strange.get(path) != reason:
            self._strange[path] = reason
            self._log.warning("%s: %s", path, reason)

    def _ask(self, orphan: _Orphan, question: str) -> Any:
        """The answer to a question. Raises TerrasterError."""
        try:
            with gevent.Timeout(_PATIENCE * 5, TimeoutError("no answer came in time")):
                orphan.channel.send((question,))
                (name, answer), descriptors = orphan.channel.receive()
        except Exception as error:  # as in `_meet`
            raise TerrasterError(f"worker {orphan.pid} does not tell what it knows: {error}") from error
        for descriptor in descriptors:
            os.close(descriptor)
        if name != question:
            raise TerrasterError(f"worker {orphan.pid} does not tell what it knows: its answer is to another question")
        return answer


def _age(orphan: _Orphan) -> tuple[int, int]:
    return orphan.age


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
