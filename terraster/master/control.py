"""The questions that children may ask the master over their control channel: the verbs of `Process.ask`.

Answers are plain dicts, so that the admin worker can hand them on as JSON. Each question runs in a greenlet of its own: a reload
may take seconds, and a child that asked for it must acknowledge it meanwhile.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import gevent

from terraster import __version__
from terraster.certs.acme_answers import kept_answers
from terraster.compiled import Rooms
from terraster.config.messages import suggestion
from terraster.errors import TerrasterError
from terraster.logs.program import ProgramLog
from terraster.state.cells import MasterCells, Seat
from terraster.state.table import Table
from terraster.worker.process import Process

from .backends.outliers import Outliers
from .backends.recent_failures import RecentFailures
from .backends.shown_certificates import ShownCertificates
from .backends.states import BackendStates
from .certificates import Certificates
from .children import Children
from .events import Events
from .filter_files import FilterFiles
from .operator.account import Accounts, refusal
from .operator.adopt_commands import AdoptCommands
from .operator.commands import OperatorCommands
from .operator.edit_commands import EditCommands
from .operator.generation_commands import Generations
from .operator.host_commands import HostCommands
from .operator.level_commands import LevelCommands
from .operator.limit_commands import LimitCommands
from .operator.probe_commands import ProbeCommands
from .operator.service_commands import ServiceCommands
from .operator.touched import of_change, touched
from .participant import Outcome, Participant
from .questions import Questions
from .reload import Reloader
from .running import Running
from .staples import Staples
from .upgrade import Upgrade

__all__ = ["Control"]

_PATIENCE = 5.0  # seconds that workers have to take the answers to an authority
_AT_ONCE = 1.0  # seconds that workers have to tell what they know
_LOOK = 0.05  # seconds between two looks whether the successor has ended


class Control:
    """Answers for one master."""

    def __init__(
        self,
        running: Running,
        participants: Sequence[Participant],
        children: Children,
        questions: Questions,
        reloader: Reloader,
        commands: OperatorCommands,
        probes: ProbeCommands,
        limits: LimitCommands,
        levels: LevelCommands,
        hosts: HostCommands,
        services: ServiceCommands,
        editor: EditCommands,
        adopter: AdoptCommands,
        generations: Generations,
        accounts: Accounts,
        states: BackendStates,
        outliers: Outliers,
        recent_failures: RecentFailures,
        shown_certificates: ShownCertificates,
        upgrade: Upgrade,
        certificates: Certificates,
        staples: Staples,
        filter_files: FilterFiles,
        events: Events,
        rooms: Rooms,
        table: Table,
        log: ProgramLog,
    ) -> None:
        self._running = running
        self._participants = participants
        self._children = children
        self._questions = questions
        self._reloader = reloader
        self._states = states
        self._outliers = outliers
        self._recent_failures = recent_failures
        self._shown_certificates = shown_certificates
        self._upgrade = upgrade
        self._certificates = certificates
        self._staples = staples
        self._filter_files = filter_files
        self._rooms = rooms
        self._table = table
        self._log = log
        self._verbs: dict[str, Callable[..., dict[str, Any]]] = {
            "reload": self.reload,
            "stop": self.stop,
            "status": self.status,
            "backend": commands.backend,
            "host": hosts.host,
            "probe": probes.probe,
            "log_level": levels.log_level,
            "limits": limits.limits,
            "reset_limit": limits.reset_limit,
            "maintenance": services.maintenance,
            "edit": editor.edit,
            "drop_edits": editor.drop,
            "edits": editor.edits,
            "etags": editor.etags,
            "adopt": adopter.adopt,
            "generations": generations.generations,
            "diff": generations.diff,
            "texts": generations.texts,
            "rollback": generations.rollback,
            "why": accounts.why,
            "mirrors": self.mirrors,
            "seen": self.seen,
            "challenges": self.challenges,
            "certificates": self.certificates,
            "staples": self.staples,
            "filter_files": self.filter_files,
            "events": events.after,
        }

    def answer(self, worker: Process, ticket: int, verb: str, arguments: dict[str, Any]) -> None:
        """Answer one question of one child. The child may have gone meanwhile."""
        try:
            if verb in self._verbs:
                answer = self._verbs[verb](**arguments)
            else:
                answer = {"ok": False, "problems": [f"the master knows no {verb!r}; it knows {', '.join(self._verbs)}"]}
        except Exception as error:
            self._log.exception("cannot answer %r", verb)
            answer = {"ok": False, "problems": [f"the master cannot answer: {type(error).__name__}: {error}"]}
        try:
            worker.channel.send(("answer", ticket, answer))
        except TerrasterError:
            return

    def reload(self, why: str = "terrasterctl", dry_run: bool = False) -> dict[str, Any]:
        """Reload. The answer has the keys of `Outcome`. dry_run: say what would change and what it would touch (``touches``, see
        `terraster.master.operator.touched`), and change nothing"""
        if not dry_run:
            return {**self._reloader.reload(why).as_dict(), "dry_run": False}
        outcome, change = self._reloader.rehearse(), self._reloader.rehearsed
        found = [] if change is None else of_change(self._running.snapshot, change)
        return {**outcome.as_dict(), "dry_run": True, "touches": touched(self._table, found)}

    def stop(self, graceful: bool = True) -> dict[str, Any]:
        """Begin to stop, as TERM (or QUIT) would; the answer comes before the end does. During an upgrade both masters end, the new one
        first."""
        number = signal.SIGTERM if graceful else signal.SIGQUIT
        if self._upgrade.end_successor(number):
            gevent.spawn(self._stop_after_successor, number)
        else:
            os.kill(os.getpid(), number)
        return {"ok": True, "pid": os.getpid(), "drain_timeout": self._running.snapshot.drain_timeout if graceful else 0.0}

    def _stop_after_successor(self, number: int) -> None:
        while self._upgrade.successor:
            gevent.sleep(_LOOK)
        os.kill(os.getpid(), number)

    def mirrors(self, service: str) -> dict[str, Any]:
        """How answers to copies of requests differed: ``differences`` by pid of the workers, see
        `terraster.phases.mirrors.Mirrors.differences`. service: of this one only, "": of all"""
        names = sorted([one.name for one in self._running.snapshot.services])
        if service and service not in names:
            return refusal(f"there is no service {service}{suggestion(service, names)}", names)
        return {"ok": True, "differences": self._questions.ask("mirrors", service, _AT_ONCE)}

    def seen(self, what: str, about: str) -> dict[str, Any]:
        """The workers' answers about single requests: ``answers`` by pid, and ``silent``, the pids of those that do not answer at once.
        what, about: see `terraster.worker.witness.QUESTIONS`"""
        answers, silent = self._questions.poll(what, about, _AT_ONCE)
        return {"ok": True, "answers": answers, "silent": silent}

    def challenges(self) -> dict[str, Any]:
        """Have all workers give the answers that are kept with orders under way to an authority that proves names, and no others. Not during an
        upgrade: the workers of the other master have the same ports, and would not know them."""
        if self._upgrade.is_under_way:
            return {"ok": False, "upgrade": True, "problems": ["an upgrade is under way"]}
        try:
            answers = kept_answers(self._running.snapshot)
        except OSError as error:
            return {"ok": False, "problems": [f"the answers to the authority cannot be read: {error.filename}: {error.strerror}"]}
        if not self._children.challenge(answers, _PATIENCE):
            return {"ok": False, "problems": [f"not all workers took the answers to the authority within {_PATIENCE:g} s"]}
        return {"ok": True}

    def certificates(self) -> dict[str, Any]:
        """Look for changed certificates now, and have them in effect when this returns."""
        self._certificates.look()
        return {"ok": True}

    def staples(self) -> dict[str, Any]:
        """Look for changed OCSP responses now, and have them in effect when this returns."""
        self._staples.look()
        return {"ok": True}

    def filter_files(self) -> dict[str, Any]:
        """Look for changed files of filters now, and have them in effect when this returns."""
        self._filter_files.look()
        return {"ok": True}

    def status(self, whole: bool = True) -> dict[str, Any]:
        """All that the master knows. whole False: of backends, only of those that are not healthy (`Participant.trouble`)

        ``pid version rooms started generation upgrade last_reload workers wanted_workers restarts reloads reload_failures``; times are
        time.time() seconds, ages seconds. ``rooms``: `Rooms.as_dict`. ``failing``: by id, of backends that failed lately: ``attempts failures
        seconds text when not_ejected``.
        ``shown_certificates``: by id, words on the certificate of a backend for which it is refused.
        ``refused_refresh``: ``why problems when`` of a change above the file that is not in effect, or None. One key more for each
        participant with a `Participant.detail`: ``listeners names states prober orders …``
        """
        cells, reloader = self._table.master_cells(), self._reloader
        return {
            "ok": True,
            "pid": os.getpid(),
            "version": __version__,
            "rooms": self._rooms.as_dict(),
            "started": cells[MasterCells.STARTED] / 1e9,
            "generation": self._running.snapshot.generation,
            "wanted_workers": self._children.workers,
            "restarts": cells[MasterCells.WORKER_RESTARTS],
            "reloads": cells[MasterCells.RELOADS],
            "reload_failures": cells[MasterCells.RELOAD_FAILURES],
            "last_reload": reloader.last.as_dict() if reloader.last else None,
            "refused_refresh": _refused(reloader.refused),
            "upgrade": self._upgrade.masters(),
            "stopping": cells[MasterCells.STOPPING],
            "workers": [self._worker(worker) for worker in sorted(self._children.by_pid.values(), key=_seat)],
            "failing": self._failing(),
            "shown_certificates": self._shown_certificates.words(),
            **{one.name: detail for one in self._participants if (detail := one.detail() if whole else one.trouble()) is not None},
        }

    def _failing(self) -> dict[str, Any]:
        found = {}
        kept = self._outliers.detail()
        for slot in self._recent_failures.slots():
            recent, known = self._recent_failures.recent(slot), self._states.at(slot)
            if recent is not None and known is not None:
                failures = self._outliers.recent(known[0])
                found[known[0]] = {**asdict(recent), "text": failures[-1]["text"] if failures else ""}
                found[known[0]]["when"] = failures[-1]["when"] if failures else None
                found[known[0]]["not_ejected"] = kept.get(known[0], {}).get("not_ejected", "")
        return found

    def _worker(self, worker: Process) -> dict[str, Any]:
        table = self._table
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


def _seat(worker: Process) -> int:
    return worker.seat


def _refused(refused: tuple[str, Outcome] | None) -> dict[str, Any] | None:
    return {"why": refused[0], "problems": refused[1].problems, "when": refused[1].when} if refused is not None else None
