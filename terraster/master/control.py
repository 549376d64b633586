"""What children may ask of the master, over their control channel: the verbs of `Process.ask`.

Answers are plain dicts, so that the admin worker can hand them on as JSON. Each question runs in a greenlet of its own: a reload
may take seconds, and a child that asked for it must acknowledge it meanwhile.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from terraster import __version__
from terraster.errors import TerrasterError
from terraster.state.table import MasterCells, Seat

from .reload import Outcome

__all__ = ["Control"]


class Control:
    """Answers for one master."""

    def __init__(self, master: Any) -> None:
        self._master = master

    def answer(self, worker: Any, ticket: int, verb: str, arguments: dict[str, Any]) -> None:
        """Answer one question of one child; if the child has gone meanwhile, nobody is told."""
        steering = self._master.commands
        known: dict[str, Callable[..., dict[str, Any]]] = {
            "reload": self.reload,
            "stop": self.stop,
            "status": self.status,
            "backend": steering.backend,
            "why": steering.why,
        }
        try:
            if verb in known:
                answer = known[verb](**arguments)
            else:
                answer = {"ok": False, "problems": [f"the master knows no {verb!r}; it knows {', '.join(known)}"]}
        except Exception as error:
            self._master.log.exception("cannot answer %r", verb)
            answer = {"ok": False, "problems": [f"the master cannot answer: {type(error).__name__}: {error}"]}
        try:
            worker.channel.send(("answer", ticket, answer))
        except TerrasterError:
            return

    def reload(self, why: str = "terrasterctl") -> dict[str, Any]:
        """Reload and tell how it went: see `Outcome` for the keys."""
        outcome: dict[str, Any] = self._master.reloader.reload(why).as_dict()
        return outcome

    def stop(self, graceful: bool = True) -> dict[str, Any]:
        """Begin to stop, as TERM (or QUIT) would; the answer comes before the end does."""
        os.kill(os.getpid(), signal.SIGTERM if graceful else signal.SIGQUIT)
        return {"ok": True, "pid": os.getpid(), "drain_timeout": self._master.running.snapshot.drain_timeout if graceful else 0.0}

    def status(self) -> dict[str, Any]:
        """What the master knows.

        ``pid version started generation last_reload workers backends wanted_workers restarts``; times are time.time() seconds,
        ages seconds. Backends by id: ``backends`` (what the Prober knows), ``states`` (`BackendStates.one`), ``failing`` (of those that
        failed lately: ``attempts failures seconds text not_ejected``); ``overrides``: see `OperatorCommands.detail`; ``names``:
        see `Names.detail`; ``refused_refresh``: ``why problems when`` of a change above the file that is not in effect, or None.
        """
        master = self._master
        cells = master.table.master_cells()
        return {
            "ok": True,
            "pid": os.getpid(),
            "version": __version__,
            "started": cells[MasterCells.STARTED] / 1e9,
            "generation": master.running.snapshot.generation,
            "wanted_workers": master.children.workers,
            "restarts": cells[MasterCells.WORKER_RESTARTS],
            "reloads": cells[MasterCells.RELOADS],
            "reload_failures": cells[MasterCells.RELOAD_FAILURES],
            "last_reload": master.reloader.last.as_dict() if master.reloader.last else None,
            "refused_refresh": _refused(master.reloader.refused),
            "stopping": cells[MasterCells.STOPPING],
            "listeners": list(master.listeners.open),
            "workers": [self._worker(worker) for worker in sorted(master.children.by_pid.values(), key=lambda one: one.seat)],
            "backends": master.prober.detail(),
            "names": master.names.detail(),
            "states": master.states.detail(),
            "failing": self._failing(),
            "overrides": master.commands.detail(),
        }

    def _failing(self) -> dict[str, Any]:
        master, found = self._master, {}
        kept = master.outliers.detail()
        for slot in master.recent_failures.slots():
            recent, known = master.recent_failures.recent(slot), master.states.at(slot)
            if recent is not None and known is not None:
                failures = master.outliers.recent(known[0])
                found[known[0]] = {**asdict(recent), "text": failures[-1]["text"] if failures else ""}
                found[known[0]]["not_ejected"] = kept.get(known[0], {}).get("not_ejected", "")
        return found

    def _worker(self, worker: Any) -> dict[str, Any]:
        table = self._master.table
        q, at = table.q, table.seat(worker.seat)
        return {
            "pid": worker.pid,
            "seat": worker.seat,
            "role": worker.name,
            "state": worker.state,
            "generation": q[at + Seat.GENERATION],
            "age": time.monotonic() - worker.started,
            "connections": q[at + Seat.CONNECTIONS],
            "accepted": q[at + Seat.ACCEPTED],
            "draining": bool(q[at + Seat.DRAINING]),
        }


def _refused(refused: tuple[str, Outcome] | None) -> dict[str, Any] | None:
    return {"why": refused[0], "problems": refused[1].problems, "when": refused[1].when} if refused is not None else None
