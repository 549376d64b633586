"""The configuration that runs: one object that the parts of the master share, and the two participants that make it.

`Planner` compiles a proposal and swaps it in; `Slots` leases its slots of the shared table. Everything else in the master only reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from terraster.config.diff import diff
from terraster.config.snapshot import Snapshot
from terraster.errors import StartError, TerrasterError
from terraster.logs.program import ProgramLog
from terraster.net.yielding import yield_to_loop
from terraster.state.cells import MasterCells
from terraster.state.leases import Leases
from terraster.state.view import SeatView

from .participant import Participant, Plan, Proposal

__all__ = ["Compile", "Planner", "Running", "Slots"]

Compile = Callable[[Snapshot, SeatView], Plan]


class Running:
    """The configuration of one master.

    loaded:   as the file has it
    snapshot: as it runs: with operators' overrides, with the addresses of names, with slots
    plan:     compiled from ``snapshot``; set before the first fork
    """

    __slots__ = ("loaded", "snapshot", "plan")

    plan: Plan

    def __init__(self, loaded: Snapshot) -> None:
        self.loaded = self.snapshot = loaded

    def describe(self, workers: int) -> str:
        """One line for the service manager."""
        services = len(self.snapshot.services)
        return f"generation {self.snapshot.generation}, {workers} worker{'s' * (workers != 1)}, {services} service{'s' * (services != 1)}"


class Slots(Participant):
    """Slots of the shared table for all backends and locations."""

    name = "slots"

    def __init__(self, leases: Leases) -> None:
        self._leases = leases

    def prepare(self, new: Proposal) -> None:
        new.snapshot = self._leases.assign(new.snapshot)

    def rollback(self) -> None:
        self._leases.undo()

    def commit(self, new: Proposal) -> None:
        self._leases.commit(new.snapshot)


class Planner(Participant):
    """The changes and the compiled plan: a configuration that cannot be compiled is never sent to a child."""

    name = "plan"

    def __init__(self, running: Running, compile: Compile, view: SeatView, log: ProgramLog) -> None:
        self._running = running
        self._compile = compile
        self._view = view
        self._log = log

    def prepare(self, new: Proposal) -> None:
        if new.old is None:
            new.plan = self._compile(new.snapshot, self._view)
            return
        new.change = diff(new.old, new.snapshot)
        yield_to_loop()
        try:
            new.plan = self._running.plan.updated(new.change)
        except TerrasterError:
            raise
        except Exception as error:
            self._log.exception("the new configuration cannot be compiled")
            raise StartError(f"the new configuration cannot be compiled: {type(error).__name__}: {error}") from error

    def commit(self, new: Proposal) -> None:
        assert new.plan is not None
        running = self._running
        running.loaded, running.snapshot, running.plan = new.loaded, new.snapshot, new.plan
        q, cells = self._view.q, self._view.table.master
        q[cells + MasterCells.GENERATION] = new.snapshot.generation
        if new.old is None:
            q[cells + MasterCells.STARTED] = q[cells + MasterCells.LAST_RELOAD_TIME] = time.time_ns()
            q[cells + MasterCells.LAST_RELOAD_OK] = 1
        self._log.set_level(new.snapshot.log_level)
        self._log.configure(new.snapshot.program_log)
