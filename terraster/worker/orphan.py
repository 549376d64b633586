"""The life of a child after the death of its master.

    the master dies ─▶ serves on, and accepts ─▶ a new master serves ─▶ drains, leaves
                                              └▶ `orphan_timeout` is over ─▶ drains, leaves

An orphan keeps what it has: the configuration, the states of backends, the listening sockets, the shared table. It waits for a new
master on a socket of its own, ``orphan.PID.sock`` in the runtime directory, and answers:

    new master → orphan  ("describe",); ("leases",); ("leave",)
    orphan → new master  ("orphan", dict, with the descriptors of the table and of its listening sockets); ("leases", dict)

The messages are those of `terraster.worker.channel`, with nothing but plain values in them, because the new master may be of another
version. Only the same user and root are answered. While a new master is connected the timeout does not end: that master may be busy
with its first probes. An orphan leaves by itself if another master of the same table serves, as after an upgrade that was cut short,
and if its socket is removed: systemd removes the runtime directory of a unit that is stopped.
"""

from __future__ import annotations

import os
import socket as plain_socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import gevent
from gevent import monkey, socket

from terraster import __version__
from terraster.config.snapshot import Snapshot
from terraster.state.alive import lives
from terraster.state.cells import MasterCells, Seat
from terraster.state.table import Table

from .channel import Channel, ChannelClosed

__all__ = ["PREFIX", "Orphan", "facts", "known_slots", "peer", "succeeded"]

PREFIX = "orphan."
_LOOK = 0.1  # seconds between two looks whether it is time to leave


class Orphan:
    """One child whose master has died. It makes itself known, and tells when it is time to leave.

    snapshot:  ``snapshot()``: the configuration that the child runs
    listeners: ``listeners()``: address → listening socket, of those that another master can use
    facts:     what else a new master is told, by name

    ``is_succeeded``: True once another master serves
    """

    __slots__ = ("_table", "_snapshot", "_listeners", "_facts", "_path", "_socket", "_visitors", "_told", "is_succeeded")

    def __init__(
        self,
        table: Table,
        snapshot: Callable[[], Snapshot],
        listeners: Callable[[], Mapping[str, plain_socket.socket]],
        facts: Mapping[str, Any],
    ) -> None:
        """Raises OSError if there can be no socket in the runtime directory."""
        self._table = table
        self._snapshot = snapshot
        self._listeners = listeners
        self._facts = dict(facts)
        self._visitors = 0
        self._told = False
        self.is_succeeded = False
        self._path = os.path.join(snapshot().runtime_dir, f"{PREFIX}{os.getpid()}.sock")
        self._socket = _bind(self._path)
        gevent.spawn(self._accept)

    def wait(self, seconds: float) -> str:
        """Wait until it is time to leave; why, as a clause."""
        until = time.monotonic() + seconds
        while True:
            if self._told or succeeded(self._table):
                self.is_succeeded = True
                return "another master serves"
            if not os.path.exists(self._path):
                return "its socket in the runtime directory was removed, so no new master can find it"
            if time.monotonic() >= until and not self._visitors:
                return f"no new master came within {seconds:g} s"
            gevent.sleep(_LOOK)

    def close(self) -> None:
        """Make it known no longer."""
        self._socket.close()
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            return

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self._socket.accept()
            except OSError:
                return  # closed
            gevent.spawn(self._answer, connection)

    def _answer(self, connection: Any) -> None:
        if peer(connection)[1] not in (os.geteuid(), 0):
            connection.close()
            return
        channel = Channel(connection.detach())
        self._visitors += 1
        try:
            while True:
                match channel.receive()[0]:
                    case ("describe",):
                        listeners = dict(self._listeners())
                        descriptors = [self._table.descriptor, *(one.fileno() for one in listeners.values())]
                        channel.send(("orphan", {**self._facts, "listeners": list(listeners)}), descriptors)
                    case ("leases",):
                        channel.send(("leases", known_slots(self._snapshot())))
                    case ("leave",):
                        self._told = True
        except ChannelClosed:
            return
        finally:
            self._visitors -= 1
            channel.close()


def facts(seat: int, role: str, generation: int, activated: bool, began: int) -> dict[str, Any]:
    """The facts of an orphan for a new master.

    activated: the service manager owns the listening sockets. began: when its master began (`terraster.state.cells.Seat.BEGAN`): the
    generations of two masters are not comparable
    """
    return {
        "version": __version__,
        "pid": os.getpid(),
        "seat": seat,
        "role": role,
        "generation": generation,
        "activated": activated,
        "began": began,
    }


def known_slots(snapshot: Snapshot) -> dict[str, Any]:
    """The slots of a snapshot, in plain values, for `Leases.adopt`: id of a location or TLS listener → slot, [(backend id, URL, slot)],
    [(URL, sums, slots)]."""
    listeners: dict[str, Any] = {listener.id: (listener.slot, [], []) for listener in snapshot.listeners if listener.tls}
    listeners |= {plugin.id: (plugin.slot, [], []) for plugin in snapshot.plugins}
    return listeners | {
        location.id: (
            location.slot,
            [(backend.id, backend.url, backend.slot) for backend in location.backends],
            [(one.url, one.sums, one.slots) for one in location.departed],
        )
        for service in snapshot.services
        for location in service.locations
    }


def succeeded(table: Table) -> bool:
    """True if another master of this table lives, and has as many proxy workers that serve as it wants."""
    q = table.q
    for master in table.masters()[1:]:
        at, seat = table.master_of(master), table.seat(table.master_seat(master))
        if not lives(q[seat + Seat.PID], q[seat + Seat.BEGAN]) or q[at + MasterCells.STOPPING] != MasterCells.RUNNING:
            continue
        seats = [table.seat(one) for one in table.taken_seats() if one in table.seats_of(master)]
        serving = [
            one for one in seats if q[one + Seat.ROLE] == Seat.PROXY and q[one + Seat.GENERATION] and not q[one + Seat.DRAINING]
        ]
        if len(serving) >= max(1, q[at + MasterCells.WORKERS]):
            return True
    return False


def peer(connection: Any) -> tuple[int, int]:
    """The process at the other end of a unix socket and its user, as the kernel knows them: (pid, uid)."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _gid = struct.unpack("3i", credentials)
    return pid, uid


def _bind(path: str) -> Any:
    """A listening socket of this hub, which only the same user and root can connect to."""
    make: type[plain_socket.socket] = monkey.get_original("socket", "socket")
    with make(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        with suppress(FileNotFoundError):
            os.unlink(path)  # of an earlier process with this pid
        before = os.umask(0o177)
        try:
            one.bind(path)
        finally:
            os.umask(before)
        one.listen(8)
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=one.detach())
