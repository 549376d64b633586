"""The admin worker: the process that answers Prometheus, the probes of orchestrators, and terrasterctl. No client request passes through
it.

It reads the shared table, asks the master, and decides nothing. If it dies, traffic is not affected and the master starts another one.
It has one hub and one greenlet per connection. A large scrape pauses every few milliseconds, so that the control socket answers
meanwhile. The module is longer than 400 lines because here all parts of the admin worker are made and joined.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import gevent

from ..api.problem import Refused
from ..audit.log import AuditLog
from ..config.diff import Change, patch
from ..config.edits import Edit
from ..config.snapshot import Snapshot
from ..master.listeners import control_address
from ..net.yielding import yield_to_loop
from ..state.alive import lives
from ..state.cells import MasterCells, Seat
from ..users.room import Users
from ..worker.process import Process
from . import audit, edits, pages, past, plugins, processes, readings, seat_readings, slo_rows
from .acme import Orderer
from .archivist import Archivist
from .audited import Audited
from .auditor import Auditor
from .callers import UserIdentity
from .chronicle import Chronicle
from .documents import Documents, wishes
from .door import Door
from .expiry_watch import ExpiryWatch
from .explainer import Explainer
from .gate import Gate
from .historian import Historian
from .live import Live
from .mirrors import mirrors
from .mount import Mount, SocketIdentity, operator
from .ocsp import Fetcher
from .past import Past
from .problems import stopping_in_words
from .recent import LOOK, Recent
from .server import PEER_UID, Server
from .site import BODY, Handler, Refusal, Response, Site, json_response, only_for_owner
from .status import document
from .suspects import suspects
from .tailing import Tailing
from .throttle import Throttle
from .traces import TraceExporters

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from ..api.identity import Identity
    from ..api.router import Api
    from ..explain.running import Rules

__all__ = ["AdminWorker"]

_LAST = 0.2  # seconds in which an orphan that was told to stop still answers
_BESIDE = ("/api/…", "/openapi.json")  # of `Mount`, for those who ask for a path that is not there
MASTER_SILENT = 10.0  # seconds without a heartbeat of the master after which /healthz answers 503


class AdminWorker(Process):
    """The admin worker."""

    role = Seat.ADMIN
    name = "admin"

    _servers: dict[str, Server]  # by address

    def rules(self, texts: Mapping[str, bytes] | None = None, edits: Sequence[Edit] = ()) -> Rules:
        """Where rules are written, for explanations, in the files as they are now, or as they were (texts), with edits. Called in a process
        without an event loop."""
        from ..explain.running import no_rules

        return no_rules()

    def start(self) -> None:
        """Serve on every inherited socket."""
        self._orderer = Orderer(self._running, self.ask, self.log)
        self._master = os.getppid()
        self._recent = Recent(self.view.table)
        self._explainer = Explainer(self.view.table, self.view.seat, self.rules, self.log)
        self._live = Live(self._document, self.log)
        self._tailing = Tailing(self.tails, self._ask, self.log)
        self._auditor = Auditor(AuditLog(os.path.join(self.snapshot.state_dir, "audit"), self._complain), self._running, self.log)
        self._audited = Audited(self._auditor, self.ask, self._runs)
        self._users = Users(self._running)
        self._watched = self._users.watch(self.log)
        self._historian = Historian(self.view.table, self._running, self.log)
        self._chronicle = chronicle = Chronicle(
            self._running, self.ask, self._historian.writes, self._auditor, self._problems, self.log
        )
        self._past = Past(self._historian, chronicle, self._running)
        control = control_address(self.snapshot)
        sites: dict[str, Mount | Site] = {
            control: self._control_site(),
            self.snapshot.metrics_listen: self._metrics_site(),
            self.snapshot.admin_listen: self._admin_site(),
        }
        gevent.spawn(self._users.cleanup(self.log).run)
        gevent.spawn(self._watched.run)
        self._door = Door(self.log)
        self._door.use(self.snapshot.admin_tls)
        self._orderer.start()
        gevent.spawn(self._look)
        self._fetcher = Fetcher(self._running, self.ask, self.log)
        gevent.spawn(self._fetcher.run)
        self._documents = Documents(self._running, self.ask, self.log, wishes(self.view.table, self._cells))
        gevent.spawn(self._documents.run)
        self._watch = ExpiryWatch(self._running, self.log)
        gevent.spawn(self._watch.run)
        gevent.spawn(Archivist(self._running, self.log).run)
        self._exporters = TraceExporters(self.traces, self.view, self._running, self.log)
        gevent.spawn(self._exporters.run)
        gevent.spawn(self._auditor.run)
        gevent.spawn(self._historian.run)
        gevent.spawn(chronicle.run)
        self._servers = {
            address: Server(sock, sites[address], self.log, self._door if address == self.snapshot.admin_listen else None)
            for address, sock in self.listeners.items()
            if address in sites
        }
        for server in self._servers.values():
            server.start()

    def _look(self) -> None:
        while True:
            gevent.sleep(LOOK)
            self._recent.look()

    def apply(self, change: Change, listeners: dict[str, Any]) -> None:
        """Show the new configuration from now on, in metrics and status."""
        self.snapshot = patch(self.snapshot, change)
        self._door.use(self.snapshot.admin_tls)
        self._watch.changed()
        self._orderer.changed()
        self._fetcher.changed()
        self._documents.changed()
        self._exporters.changed()

    def drain(self) -> None:
        """Stop accepting. Responses under way are finished. The master drains this worker last."""
        self._orderer.stop()
        gevent.spawn(self._leave_history)
        self._exporters.stop()
        self._live.close()
        self._tailing.close()
        for server in self._servers.values():
            server.close()

    def _leave_history(self) -> None:
        try:
            self._chronicle.leave()
        finally:
            self._historian.leave()

    def stopping(self) -> None:
        """Leave the shared ports to the other master, which goes on. The control socket is this master's own."""
        if self.view.q[self.view.table.master + MasterCells.SHARED]:
            for address, server in self._servers.items():
                if address != control_address(self.snapshot):
                    server.close()

    def shareable(self) -> dict[str, Any]:
        control = control_address(self.snapshot)
        return {address: server.socket for address, server in self._servers.items() if address != control and not server.closed}

    def idle(self) -> bool:
        return not self._historian.writes() and not (self._exporters.busy or any(server.busy for server in self._servers.values()))

    def _proxies(self) -> list[int]:
        """Process ids of the proxy workers."""
        return [seat.pid for seat in seat_readings.seats(self.view.table) if seat.role == "proxy"]

    def _cells(self) -> dict[tuple[str, str], int]:
        return {(one.kind, one.counter.name): one.cell for one in self.plan.counted}

    def _running(self) -> Snapshot:
        return self.snapshot

    def _admin_site(self) -> Mount:
        routes: dict[str, dict[str, Handler]] = {
            **pages.routes(),
            **pages.reference(),
            "/metrics": {"GET": self._metrics},
            "/healthz": {"GET": self._healthz},
            "/readyz": {"GET": self._readyz},
        }
        guard = Gate(Throttle(self.view, self._running), self._running, self._proxies)
        return Mount(lambda: self._api(UserIdentity(self._users.access)), Site(routes, self.log, guard, _BESIDE), guard)

    def _metrics_site(self) -> Site:
        return Site({"/metrics": {"GET": self._metrics}, "/healthz": {"GET": self._healthz}}, self.log)

    def _api(self, identity: Identity) -> Api:
        """The API for the callers that `identity` knows. Its modules are imported here, as few processes need them."""
        from ..api.deps import Deps
        from ..api.operations import table as operations
        from ..api.router import Api
        from .answers import Answers
        from .api_recorder import ApiRecorder

        answers = Answers(
            self.view.table,
            self._running,
            self._ask,
            lambda: self.plan.counted,
            lambda: self._recent.counts(),
            self._document,
            lambda: self._fetcher.problems,
            self._explainer,
        )
        return Api(
            operations(
                Deps(
                    self._running,
                    self._ask,
                    answers,
                    self._live,
                    self._auditor,
                    self._users,
                    self._past,
                    self._tailing,
                    self._objectives,
                )
            ),
            identity,
            ApiRecorder(self._auditor),
            self.log,
            lambda: self.snapshot.admin_debug,
        )

    def _control_site(self) -> Mount:
        routes: dict[str, dict[str, Handler]] = {
            "/status": {"GET": self._status},
            "/healthz": {"GET": self._alive},
            "/reload": {"GET": self._last_reload, "POST": self._reload},
            "/stop": {"POST": self._stop},
            "/backend": {"POST": self._backend},
            "/maintenance": {"POST": self._maintenance},
            **edits.routes(self.ask, lambda: self._audited, _operator),
            "/why": {"GET": self._why},
            "/mirrors": {"GET": self._mirrors},
            "/plugins": {"GET": self._plugins},
            "/explain": {"POST": self._explain},
            **audit.routes(self._auditor),
            **past.routes(self._past),
        }
        return Mount(lambda: self._api(SocketIdentity()), Site(routes, self.log, only_for_owner, _BESIDE), only_for_owner)

    @cached_property
    def _registry(self) -> CollectorRegistry:
        """The metrics, made at the first scrape: with their library they take 2 MiB, and not every Terraster is scraped."""
        from .exposition import make_registry
        from .metrics import TableCollector
        from .slo_metrics import SloCollector

        made = make_registry(
            TableCollector(self.view.table, self._running, self._master, yield_to_loop, self.plan.counted, self._orderer.counts)
        )
        made.register(SloCollector(self._historian.slos.rows))
        return made

    def _metrics(self, query: dict[str, str]) -> Response:
        from .exposition import CONTENT_TYPE, exposition

        return Response(exposition(self._registry), CONTENT_TYPE)

    def _healthz(self, query: dict[str, str]) -> Response:
        if self.orphaned_at:
            raise Refusal(503, self._orphaned_in_words())
        silent = (time.monotonic_ns() - self.view.q[self.view.table.master + MasterCells.HEARTBEAT]) / 1e9
        if silent > MASTER_SILENT:
            raise Refusal(503, f"the master has sent no heartbeat for {silent:.0f} s")
        return Response(b"ok\n")

    def _readyz(self, query: dict[str, str]) -> Response:
        self._healthz(query)
        stopping = self.view.q[self.view.table.master + MasterCells.STOPPING]
        if (
            stopping != MasterCells.RUNNING and self.view.q[self.view.table.master + MasterCells.SHARED]
        ):  # a probe on a kept connection: the other master serves the port
            return Response(b"ready\n")
        if stopping != MasterCells.RUNNING:
            raise Refusal(503, stopping_in_words(stopping, sum(seat.connections for seat in seat_readings.seats(self.view.table))))
        serving = [seat for seat in seat_readings.seats(self.view.table) if seat.serves]
        if not serving:
            raise Refusal(503, "no proxy worker accepts connections")
        if all(seat.is_full for seat in serving):
            descriptors = any(seat.full_why == Seat.NO_DESCRIPTORS for seat in serving)
            why = "file descriptors are short" if descriptors else "limits.connections is reached"
            raise Refusal(503, f"no proxy worker takes another connection: {why}")
        return Response(b"ready\n")

    def _status(self, query: dict[str, str]) -> Response:
        return json_response(self._document())

    def _document(self, whole: bool = True) -> dict[str, Any]:
        """The status of everything. whole False: of the services, only those that have problems, and perhaps others"""
        master = self.ask("status", whole=whole)
        table, snapshot, recent = self.view.table, self.snapshot, self._recent.counts()
        shown = snapshot if whole else replace(snapshot, services=suspects(table, snapshot, recent, master))
        seats = seat_readings.seats(table)
        return document(
            snapshot,
            shown.services,
            readings.backends(table, shown, yield_to_loop),
            readings.locations(table, shown, yield_to_loop),
            readings.unrouted(table),
            seats,
            {pid: processes.process(pid) for pid in (os.getppid(), *(seat.pid for seat in seats))},
            seat_readings.losses(table),
            {seat.seat: readings.requests(table, seat.seat) for seat in seats if seat.role == "proxy"},
            master,
            time.time(),
            self.plan.counted,
            recent,
            seat_readings.lost_lines(table),
            self._watch.failure,
            self._orderer.rows(),
            self._fetcher.problems,
            self._documents.problems,
            plugins.rows(table, snapshot),
            self._auditor.failure,
            (slo_rows.rows(one for one in self._historian.slos.rows() if one.state.burning), self._historian.slos.beyond),
            self._watched.failure,
            self._historian.failure,
        )

    def _objectives(self) -> list[dict[str, Any]]:
        return slo_rows.rows(self._historian.slos.rows())

    def _orphaned_in_words(self) -> str:
        since = time.monotonic() - self.orphaned_at
        left = self.snapshot.orphan_timeout - since
        workers = (
            f"the workers serve on for {left:.0f} s with the configuration that they have" if left > 0 else "the workers drain"
        )
        return f"the master ended {since:.0f} s ago; {workers}, and nothing can be changed; start Terraster again"

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Ask the master. Raises Refusal if it is dead."""
        if self.orphaned_at:
            raise Refusal(409, self._orphaned_in_words())
        return super().ask(verb, **arguments)

    def _ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """The same for operations of the API. Raises Refused."""
        try:
            return self.ask(verb, **arguments)
        except Refusal as error:
            raise Refused(error.status, str(error), headers=error.headers) from None

    def _alive(self, query: dict[str, str]) -> Response:
        return json_response({"ok": True})

    def _last_reload(self, query: dict[str, str]) -> Response:
        return json_response({"last_reload": self.ask("status")["last_reload"]})

    def _reload(self, query: dict[str, str]) -> Response:
        if query.get("dry_run", "") == "true":
            outcome = self.ask("reload", dry_run=True)
        else:
            outcome = self._audited.reload(_operator(query), query.get("why", "control socket"))
        return json_response(outcome, 200 if outcome["ok"] else 422)

    def _stop(self, query: dict[str, str]) -> Response:
        if self.orphaned_at:
            self._audited.record(_operator(query), "stop", "there was no master: its workers were told to end")
            return self._stop_orphans(query.get("graceful", "true") != "false")
        return json_response(self._audited.stop(_operator(query), query.get("graceful", "true") != "false"))

    def _stop_orphans(self, graceful: bool) -> Response:
        """Without a master, this worker tells the others to leave, and itself last."""
        q, table = self.view.q, self.view.table
        for seat in table.taken_seats():
            pid, since = (q[table.seat(seat) + cell] for cell in (Seat.PID, Seat.BEGAN))
            if seat in table.seats_of(table.own) and pid != os.getpid() and lives(pid, since):
                os.kill(pid, signal.SIGTERM if graceful else signal.SIGQUIT)
        gevent.spawn_later(_LAST, os.kill, os.getpid(), signal.SIGTERM)
        return json_response({"ok": True, "pid": os.getpid(), "drain_timeout": self.snapshot.drain_timeout if graceful else 0.0})

    def _backend(self, query: dict[str, str]) -> Response:
        weight = query.get("weight", "")
        try:
            arguments: dict[str, Any] = {
                "seconds": float(query.get("for", "0")),
                "weight": int(weight) if weight not in ("", "file", "default") else None,
            }
        except ValueError:
            raise Refusal(400, "`for` must be seconds, `weight` a whole number or `file`") from None
        words = {name: query.get(name, "") for name in ("action", "service", "path", "url", "reason")}
        answer = self._audited.backend(_operator(query), **words, **arguments)
        return json_response(answer, 200 if answer["ok"] else 422)

    def _maintenance(self, query: dict[str, str]) -> Response:
        try:
            seconds = float(query.get("for", "0"))
        except ValueError:
            raise Refusal(400, "`for` must be seconds") from None
        words = {name: query.get(name, "") for name in ("action", "service", "reason")}
        answer = self._audited.maintenance(_operator(query), **words, seconds=seconds)
        return json_response(answer, 200 if answer["ok"] else 422)

    def _problems(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._document(whole=False)["problems"]
        return found

    def _complain(self, text: str) -> None:
        self.log.error("%s", text)

    def _runs(self) -> int:
        return self.snapshot.generation

    def _mirrors(self, query: dict[str, str]) -> Response:
        service = query.get("service", "")
        answer = self.ask("mirrors", service=service)
        if not answer["ok"]:
            return json_response(answer, 422)
        rows = readings.locations(self.view.table, self.snapshot, yield_to_loop)
        found = [{**one, "worker": pid} for pid, told in answer["differences"].items() for one in told or ()]
        return json_response(mirrors(self.snapshot, rows, self.plan.counted, found, service, time.time()))

    def _plugins(self, query: dict[str, str]) -> Response:
        return json_response({"ok": True, "now": time.time(), "plugins": plugins.rows(self.view.table, self.snapshot)})

    def _explain(self, query: dict[str, str]) -> Response:
        try:
            asked = json.loads(query.get(BODY, ""))
        except ValueError:
            asked = None
        if not isinstance(asked, dict) or not isinstance(asked.get("headers", []), list):
            raise Refusal(400, "the body must be a JSON object with `request`, and as needed `headers`, `client` and `listener`")
        told = {} if self.orphaned_at else self.ask("edits")
        answer = self._explainer.explain({"request": "", "headers": [], "client": "", "listener": "", **asked}, self.snapshot, told)
        return json_response(answer, 200 if answer["ok"] else 422)

    def _why(self, query: dict[str, str]) -> Response:
        answer = self.ask("why", **{name: query.get(name, "") for name in ("url", "service", "path")})
        for one in answer.get("backends", ()):
            one["day"] = self._past.day(one["id"])
        return json_response(answer, 200 if answer["ok"] else 422)


def _operator(query: dict[str, str]) -> str:
    """The name of the operator (`terraster.admin.mount.operator`); on a site without the kernel's word, what the caller claims."""
    claimed = query.get("by", "")
    return operator(int(query[PEER_UID]), claimed) if PEER_UID in query else claimed
