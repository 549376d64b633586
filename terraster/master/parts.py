"""The parts of a master, made once its configuration is loaded, and the tuple of participants: who takes part in a start and a reload, and
in which order.

The size of the shared table depends on the addresses of names. So at a start those participants that need no table prepare before the
table is made, and the others, ``behind_table``, after all parts are made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import RLock

from terraster.compiled import rooms
from terraster.config.snapshot import Snapshot
from terraster.logs.program import ProgramLog
from terraster.state.view import SeatView
from terraster.worker.process import Process

from . import shared
from .adoption import Adoption
from .agenda import Agenda
from .application import Application
from .authorities import Authorities
from .backends.outliers import Outliers
from .backends.prober import Prober
from .backends.recent_failures import FAILURES, RecentFailures
from .backends.shown_certificates import ShownCertificates
from .backends.states import BackendStates
from .certificates import Certificates
from .children import Children
from .control import Control
from .credentials import BackendCredentials
from .discovery.names import Names
from .discovery.unresolved import UnresolvedBackends
from .events import Events
from .filter_files import FilterFiles
from .listeners import Listeners, control_address
from .operator.account import Accounts
from .operator.adopt_commands import AdoptCommands
from .operator.commands import OperatorCommands
from .operator.documents import Documents
from .operator.edit_commands import EditCommands
from .operator.edit_file import EditFile
from .operator.edits import KEPT, Edits
from .operator.generation_commands import Generations
from .operator.host_commands import HostCommands
from .operator.kept_generations import KeptGenerations
from .operator.level_commands import LevelCommands
from .operator.limit_commands import LimitCommands
from .operator.orders import Orders
from .operator.overrides import Overrides
from .operator.probe_commands import ProbeCommands
from .operator.service_commands import ServiceCommands
from .participant import Outcome, Participant, Proposal, prepare
from .pidfile import Pidfile
from .plugin_deaths import PluginDeaths
from .questions import Questions
from .reload import Load, Placed, Reloader
from .running import Compile, Planner, Running, Slots
from .runtime_files import RuntimeFiles
from .shared import Predecessors
from .signals import Signals
from .staples import Staples
from .steps import Step
from .systemd import ServiceManager
from .ticket_keys import TicketKeys, inherited
from .upgrade import Upgrade

__all__ = ["Basis", "Parts"]

_EVENTS = 2000  # that may come until the admin worker has taken them over


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """The things that a master has before it makes its parts.

    load, documents, roles, compile, more, step, placed: see `terraster.master.run`
    app:    gunicorn's application, with its configuration ``app.cfg``
    heard:  see `Children`
    ending: set when the master is told to stop
    """

    load: Load
    placed: Placed
    documents: Documents | None
    roles: Mapping[str, type[Process]]
    compile: Compile
    more: Sequence[Participant]
    step: Step
    running: Running
    app: Application
    log: ProgramLog
    agenda: Agenda
    service_manager: ServiceManager
    upgrade: Upgrade
    listeners: Listeners
    adoption: Adoption
    signals: Signals
    pidfile: Pidfile
    heard: Event
    ending: Event


class Parts:
    """All parts of one master. Made in the main greenlet; raises what `terraster.master.participant.prepare` and
    `terraster.master.shared.have` raise.

    new: the first configuration
    """

    __slots__ = (
        "_basis",
        "_recent_failures",
        "_shown_certificates",
        "_control",
        "rooms",
        "_questions",
        "table",
        "leases",
        "predecessors",
        "outliers",
        "orders",
        "children",
        "participants",
        "behind_table",
        "reloader",
        "tickets",
        "files",
        "generations",
    )

    def __init__(self, basis: Basis, new: Proposal) -> None:
        self._basis = basis
        running, log, agenda, step, upgrade = basis.running, basis.log, basis.agenda, basis.step, basis.upgrade
        directory = new.loaded.state_dir
        edits = Edits(basis.load, basis.documents, EditFile(directory, log, step), agenda, log, self._edit)
        kept = KeptGenerations(directory, KEPT, log)
        first = replace(edits.first(new.loaded), generation=kept.read())
        new.loaded = new.snapshot = running.loaded = running.snapshot = first
        overrides = Overrides(new.loaded.state_dir, log, step=step)
        overrides.load()
        overrides.expire()
        certificates = Certificates(log, agenda, self._use_new_certificates)
        credentials = BackendCredentials(log, agenda, self._use_new_credentials)
        authorities = Authorities(log, agenda, self._use_new_certificates)
        staples = Staples(log, agenda, self._use_new_staples)
        filter_files = FilterFiles(log, agenda, self._use_new_filter_files)
        names = Names(log, agenda, self._use_new_addresses)
        before_table: tuple[Participant, ...] = (
            edits,
            overrides,
            certificates,
            credentials,
            authorities,
            staples,
            filter_files,
            names,
        )
        prepare(before_table, new, step, log)
        found = shared.inherited(os.environ, upgrade.predecessor, log) if upgrade.predecessor else basis.adoption.table()
        # an older version does not tell when it gives us its names
        basis.service_manager.silent = bool(found and upgrade.predecessor)
        self.table, self.leases = shared.have(found, new.snapshot, step)
        table = self.table
        self.predecessors = Predecessors(table, self.leases, log)
        view = SeatView(table)
        states = BackendStates(table, log, agenda)
        self.outliers = Outliers(table, states, log, agenda)
        self._recent_failures = RecentFailures(table)
        self._shown_certificates = ShownCertificates(states, log)
        prober = Prober(table, log, states, agenda, self.outliers.checked, self._shown_certificates.probed)
        self.orders = Orders(running, overrides, states, agenda, log, self._refresh, self._is_upgrade)
        plugin_deaths = PluginDeaths(table, log)
        self.children = Children(
            basis.roles,
            basis.app,
            log,
            running,
            view,
            self.leases,
            basis.listeners,
            heard=basis.heard,
            wake=basis.signals.wake,
            hear=self._hear,
            died=plugin_deaths.died,
            retired=self.outliers.retired,
            abandon=self._abandon,
        )
        secrets = inherited(os.environ, upgrade.predecessor)
        self.tickets = TicketKeys(log, agenda, self.children.give_ticket_secrets, secrets)
        self.participants: tuple[Participant, ...] = (
            *before_table,
            Slots(self.leases),
            Planner(running, basis.compile, view, log),
            basis.listeners,
            states,
            self.outliers,
            prober,
            self.orders,
            UnresolvedBackends(names, states.resolved),
            self.tickets,
            plugin_deaths,
            self.children,
            *basis.more,
        )
        self.behind_table = self.participants[len(before_table) :]
        self.reloader = Reloader(
            running,
            self.participants,
            edits.read,
            self.children,
            basis.listeners,
            basis.service_manager,
            upgrade,
            table,
            log,
            basis.ending,
            step,
            basis.placed,
        )
        states.events = self.children.events = self.reloader.events = events = Events(_EVENTS)
        accounts = Accounts(running, overrides, states, prober, self.outliers, table)
        commands = OperatorCommands(running, overrides, self.orders, accounts, log, self._refresh, self._alone)
        services = ServiceCommands(running, overrides, self.orders, table, log, self._refresh)
        editor = EditCommands(
            running, edits, overrides, table, log, self._edit, self.reloader.rehearse, self._alone, self._is_upgrade
        )
        adopter = AdoptCommands(edits, editor, log, self._alone)
        self.generations = Generations(running, edits, editor, self._alone, kept)
        self.reloader.noted = self.generations.note
        self.files = RuntimeFiles(
            basis.pidfile,
            basis.listeners,
            control_address(new.loaded),
            log,
            restored=self.children.take_sockets,
            paused=self._is_taking_over,
        )
        self._questions = Questions(self.children)
        self.rooms = rooms()
        self._control = Control(
            running,
            self.participants,
            self.children,
            self._questions,
            self.reloader,
            commands,
            ProbeCommands(accounts, prober),
            LimitCommands(running, self._questions.ask, table, log),
            LevelCommands(running, overrides, self.orders, log, self._refresh),
            HostCommands(running, overrides, self.orders, accounts, log),
            services,
            editor,
            adopter,
            self.generations,
            accounts,
            states,
            self.outliers,
            self._recent_failures,
            self._shown_certificates,
            upgrade,
            certificates,
            staples,
            filter_files,
            events,
            self.rooms,
            table,
            log,
        )

    # Calls of the parts.

    def _refresh(self, why: str) -> Outcome:
        return self.reloader.refresh(why)

    def _edit(self, why: str, propose: Callable[[int], Snapshot]) -> Outcome:
        return self.reloader.edit(why, propose)

    def _alone(self) -> RLock:
        return self.reloader.alone

    def _use_new_addresses(self) -> bool:
        return self.reloader.refresh("names").ok

    def _use_new_credentials(self) -> bool:
        return self.reloader.refresh("TLS towards backends").ok

    def _use_new_certificates(self) -> bool:
        return self.reloader.refresh("certificates").ok

    def _use_new_staples(self) -> bool:
        return self.reloader.refresh("OCSP responses").ok

    def _use_new_filter_files(self) -> bool:
        return self.reloader.refresh("files of filters").ok

    def _is_upgrade(self) -> bool:
        return self._basis.upgrade.is_under_way

    def _is_taking_over(self) -> bool:
        return self._basis.upgrade.is_under_way or bool(self._basis.adoption)

    def _hear(self, child: Process, message: tuple[Any, ...]) -> None:
        """A message of a child that is not about its own life."""
        match message:
            case ("traffic", reports):
                self.outliers.receive(reports, child.seat)
                self._shown_certificates.attempted(reports)
                self._recent_failures.note({report[0] for report in reports if report[2] in FAILURES})
            case ("told", number, answer):
                self._questions.hear(child, number, answer)
            case ("ask", ticket, verb, arguments):
                gevent.spawn(self._control.answer, child, ticket, verb, arguments)

    def _abandon(self, child: Process) -> None:
        """In a child: close what only the master may hold."""
        basis = self._basis
        basis.signals.abandon()
        for address, one in basis.listeners.open.items():
            if address not in child.listeners:
                one.close()
        self._shown_certificates.abandon()
        for participant in self.participants:
            participant.abandon()
        basis.adoption.abandon()
        basis.pidfile.abandon()
        os.environ.pop("NOTIFY_SOCKET", None)
