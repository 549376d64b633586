"""The shared table of a master: made anew, or taken over from the master before, and the counters that others leave in it.

A master that takes a table over has a place of its own in it (`Table.sit`). The masters before it, and their workers, keep theirs until
they have ended. Then `Predecessors` moves what they counted into this master's seat. So totals never decrease, and never jump.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import MutableMapping

from terraster.config.snapshot import Snapshot
from terraster.errors import StartError
from terraster.filters.contract import counted
from terraster.filters.registry import KINDS
from terraster.logs.program import ProgramLog
from terraster.state.alive import began, lives
from terraster.state.cells import MASTERS, Seat
from terraster.state.known import Known, checked
from terraster.state.leases import Leases, capacities
from terraster.state.table import Table
from terraster.worker.orphan import known_slots

from .steps import Step

__all__ = ["COUNTERS", "TABLE", "Predecessors", "hand_over", "have", "inherited", "make", "take_place"]

TABLE = "TERRASTER_TABLE"  # from an old master to the new one: its pid, the descriptor of the table, the descriptor of a file with its slots


COUNTERS = tuple(f"{one.kind}.{one.counter.name}" for one in counted(KINDS))
"""The names of the counters of filters, in the order of their cells. A table of a version with others counts other things there."""


def make(snapshot: Snapshot) -> Table:
    """A table for a first configuration. Raises StartError.

    Where the address space of a process is limited, the table takes a quarter of it at most.
    """
    backends = sum(len(location.backends) for service in snapshot.services for location in service.locations)
    locations = sum(len(service.locations) for service in snapshot.services)
    limit, _hard = resource.getrlimit(resource.RLIMIT_AS)
    room = None if limit == resource.RLIM_INFINITY else limit // 4
    try:
        table = Table(*capacities(backends, locations, snapshot.workers, room), COUNTERS)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartError(f"cannot make the shared table: {reason}; look at what `ulimit -v` and `ulimit -f` show") from error
    _sign(table)
    return table


def hand_over(table: Table, snapshot: Snapshot, environ: MutableMapping[str, str]) -> None:
    """Put the table, and what this master knows of its slots, into the environment of a successor. Called in the process that will exec."""
    facts = os.memfd_create("terraster-slots", 0)
    with os.fdopen(os.dup(facts), "wb") as stream:
        stream.write(json.dumps(known_slots(snapshot)).encode())
    os.set_inheritable(table.descriptor, True)
    environ[TABLE] = f"{os.getppid()} {table.descriptor} {facts}"


def inherited(environ: MutableMapping[str, str], predecessor: int, log: ProgramLog) -> tuple[Table, Known] | None:
    """The table that the master which started this one handed over, and its slots. None if there is none, as early versions hand over none,
    or if this version does not understand it; the log then says so."""
    parent, *descriptors = environ.pop(TABLE, "0").split()
    if parent != str(predecessor) or len(descriptors) != 2:
        # An early version leaves the table of its own predecessor in the environment, which it does not know.
        log.warning("counters begin anew: the master before hands over no shared table")
        return None
    table, facts = map(int, descriptors)
    os.set_inheritable(table, False)
    with os.fdopen(facts, "rb") as stream:
        stream.seek(0)
        told = stream.read()
    try:
        adopted = Table.adopt(table, COUNTERS)
        return adopted, checked(json.loads(told), adopted)
    except (OSError, ValueError) as error:
        log.warning("counters begin anew: the shared table of the master before cannot be used: %s", error)
        os.close(table)
        return None


def have(found: tuple[Table, Known] | None, snapshot: Snapshot, step: Step) -> tuple[Table, Leases]:
    """The table that was found, with its leases; a table made anew if there is none to take over. Raises StartError."""
    if found is not None:
        table, known = found
        step("table found")
        if take_place(table):
            step("place taken")
            leases = Leases(table)
            leases.adopt(known)
            return table, leases
    table = make(snapshot)
    return table, Leases(table)


def take_place(table: Table) -> bool:
    """Take a place in a table that was taken over. False if a process that lives has each of its places."""
    free = [master for master in range(MASTERS) if not _is_inhabited(table, master)]
    if not free:
        return False
    table.sit(min(free, key=lambda master: (table.is_used(master), master)))
    table.clear_states()
    _sign(table)
    return True


def _sign(table: Table) -> None:
    """Write who has this process's place."""
    seat = table.seat(0)
    table.q[seat + Seat.ROLE] = Seat.MASTER
    table.q[seat + Seat.BEGAN] = began(os.getpid())
    table.q[seat + Seat.PID] = os.getpid()


def _is_inhabited(table: Table, master: int) -> bool:
    """True if a master, or one of its workers, lives in this place of the table."""
    if not table.is_used(master):
        return False
    seats = [table.master_seat(master), *(seat for seat in table.taken_seats() if seat in table.seats_of(master))]
    return any(_lives(table, seat) for seat in seats)


def _lives(table: Table, seat: int) -> bool:
    at = table.seat(seat)
    return lives(table.q[at + Seat.PID], table.q[at + Seat.BEGAN])


class Predecessors:
    """The masters before this one in the same table, and their workers. Master only.

    A master that lives keeps house for its own workers, so those are left to it.
    """

    __slots__ = ("_table", "_leases", "_log", "_deadline")

    def __init__(self, table: Table, leases: Leases, log: ProgramLog) -> None:
        self._table = table
        self._leases = leases
        self._log = log
        self._deadline = 0.0

    def workers(self) -> list[int]:
        """The seats of workers of masters that have ended, whether the workers live or not."""
        table = self._table
        taken = table.taken_seats()
        gone = [table.seats_of(master) for master in table.masters()[1:] if not _lives(table, table.master_seat(master))]
        return [seat for seats in gone for seat in taken if seat in seats]

    def are_joined_by(self, successor: int) -> bool:
        """True if the master with this pid, 0 for none, has a place in the table too.

        Then we may give it our names. Early versions take them by themselves, and stop if they have them already.
        """
        table = self._table
        places = map(table.master_seat, table.masters()[1:])
        return bool(successor) and any(table.q[table.seat(place) + Seat.PID] == successor for place in places)

    def dismissed(self, seconds: float) -> None:
        """The workers of masters that have ended know that this one serves, and have so many seconds from now on to leave."""
        self._deadline = time.monotonic() + seconds

    def manage(self) -> bool:
        """Take over the counters of those that have ended; kill those that should have left. True if a seat was emptied."""
        table = self._table
        if len(table.masters()) == 1:
            return False
        emptied = False
        for seat in self.workers():
            if not _lives(table, seat):
                table.retire(seat, self._leases.backend_slots(), self._leases.location_slots())
                emptied = True
            elif self._deadline and time.monotonic() > self._deadline:
                pid = table.q[table.seat(seat) + Seat.PID]
                self._log.error("worker %d of the master before did not leave in time, killed", pid)
                _kill(pid, signal.SIGKILL)
        taken = table.taken_seats()
        for master in table.masters()[1:]:
            if not (_lives(table, table.master_seat(master)) or any(seat in table.seats_of(master) for seat in taken)):
                table.retire_master(master, self._leases.backend_slots(), self._leases.location_slots())
                emptied = True
        if len(table.masters()) == 1:
            self._leases.release()
            self._deadline = 0.0
        return emptied

    def end(self, number: int) -> list[int]:
        """Send a signal (0: none) to the workers of masters that have ended. Returns the seats of those that still live."""
        table = self._table
        found = [seat for seat in self.workers() if _lives(table, seat)]
        for seat in found:
            _kill(table.q[table.seat(seat) + Seat.PID], number)
        return found


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it has ended meanwhile
