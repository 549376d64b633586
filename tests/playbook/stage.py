"""The one place where the playbook meets the product: the life of a request on a world of fakes (`world`), from a small configuration.

Everything between the configuration's text and the socket is the product's own: loader, snapshot, shared table, plan, streams, pools and
`Proxy`. What a worker does around them (accept, sweep, reload, drain) is done here as `terraster.worker.proxy_worker` does it.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from greenlet import greenlet

from terraster.balance.contract import Balancer, Member
from terraster.certs.certificate import read_certificate
from terraster.config.diff import diff
from terraster.config.filter_sources import fill
from terraster.config.loader import Loader
from terraster.config.resolve import resolve
from terraster.config.settings.kinds import Source
from terraster.config.snapshot import Snapshot
from terraster.exchange import Exchange
from terraster.filters.contract import Filter
from terraster.filters.registry import KINDS
from terraster.net.connection import Connection as ClientConnection
from terraster.net.downstream import Downstream
from terraster.net.parked import park
from terraster.net.reactor import Reactor
from terraster.net.stream import Stream
from terraster.plan import compile_plan
from terraster.proxy import Proxy
from terraster.state.cells import (
    BUCKETS,
    STATUS_CELL,
    WAITS,
    BackendCells,
    LocationCells,
    Seat,
    SeatBackend,
    SeatLocation,
    responses,
)
from terraster.state.leases import Leases
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.edits import Edits
from terraster.worker.generations import Generations

from .world import START, Connection, Hub, Loop, Network, Socket

__all__ = ["ID", "Stage", "config"]

ID = b"0123456789abcdef"
"""What request ids begin with."""

WALL = 1_700_000_000.0
"""The wall clock when a world begins."""

SEAT, OTHER_SEAT = 1, 2
"""Ours, and that of another worker, which scripts write into."""

_TOP = """\
listen: "127.0.0.1:80"
workers: 1
access_log: off
health_check: {type: none}
"""

_COUNTERS = {
    "requests": SeatBackend.REQUESTS,
    "retries": SeatBackend.RETRIES,
    "connects": SeatBackend.CONNECTS,
    "failures": SeatBackend.FAILURES,
    "connect_errors": SeatBackend.CONNECT_ERRORS,
    "bad_statuses": SeatBackend.BAD_STATUSES,
    "trials": SeatBackend.TRIALS,
}
_LOCATION_COUNTERS = {
    "retries": SeatLocation.RETRIES,
    "hedges": SeatLocation.HEDGES,
    "refused_retries": SeatLocation.BUDGET_REFUSALS,
    "queue_refused": SeatLocation.QUEUE_REFUSED,
    "queue_timeouts": SeatLocation.QUEUE_TIMEOUTS,
}


def config(*, backends: int | str = 1, location: str = "", service: str = "", top: str = "", locations: str = "") -> str:
    """The YAML of a service for every host with the location /, whose backends are 10.0.0.1, 10.0.0.2 and so on.

    backends: how many, or "|"-separated keys of each, as in ``"weight: 2 | backup: true"``. location, service, top: more keys there, one
    a line. locations: entries in place of that one.
    """
    each = [""] * backends if isinstance(backends, int) else [one.strip() for one in backends.split("|")]
    urls = [f"{{url: 'http://10.0.0.{at}:8000'{', ' + keys if keys else ''}}}" for at, keys in enumerate(each, 1)]
    lines = [_TOP + top, "services:", "- name: site", "  host: '*'", *_below(service, 2), "  locations:"]
    if locations:
        lines += _below(locations, 2)
    else:
        lines += ["  - path: /", *_below(location, 4), f"    backends: [{', '.join(urls)}]"]
    return "\n".join(lines) + "\n"


def _below(keys: str, columns: int) -> list[str]:
    return [" " * columns + line for line in keys.strip("\n").split("\n") if line.strip()]


@cache
def _snapshot(text: str, kinds: tuple[type[Filter], ...] = KINDS) -> Snapshot:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        return fill(_certified(resolve(Loader({}, kinds=kinds).load(file.name), 1, secret=bytes(32))), _octets)


def _octets(where: str, source: Source) -> bytes | None:
    """The octets of a filter's file, which the master reads; nothing is fetched."""
    return None if source.fetch is not None else Path(source.name).read_bytes()


def _certified(snapshot: Snapshot) -> Snapshot:
    """The snapshot with the certificates of its services, which the master reads."""
    services = list(snapshot.services)
    for at, service in enumerate(services):
        if service.tls is not None:
            read = tuple(read_certificate(file, Path(file).read_bytes(), Path(key).read_bytes()) for file, key in service.tls.files)
            services[at] = replace(service, tls=replace(service.tls, certificates=read))
    return replace(snapshot, services=tuple(services))


class _Heard(Balancer):
    """A location's balancer, and what it is told: `Stage.over`, `Stage.measured`."""

    def __init__(self, balancer: Balancer, over: list[tuple[str, bool]], measured: list[tuple[str, float]]) -> None:
        super().__init__(balancer.members)
        self._balancer = balancer
        self._over = over
        self._measured = measured

    @property
    def measures(self) -> bool:  # type: ignore[override]
        return self._balancer.measures

    @property
    def cookie(self) -> bool:  # type: ignore[override]
        return self._balancer.cookie

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        return self._balancer.pick(exchange, tried, now)

    def last_resort(self, tried: Collection[Member]) -> Member | None:
        return self._balancer.last_resort(tried)

    def has_others(self, tried: Collection[Member]) -> bool:
        return self._balancer.has_others(tried)

    def on_trial(self) -> list[Member]:
        return self._balancer.on_trial()

    def keeps(self, exchange: Exchange) -> bool:
        return self._balancer.keeps(exchange)

    def answered(self, member: Member, seconds: float, now: float) -> None:
        self._measured.append((member.backend.host, round(seconds, 3)))
        self._balancer.answered(member, seconds, now)

    def on_response(self, exchange: Exchange, edits: Edits) -> None:
        self._balancer.on_response(exchange, edits)

    def done(self, member: Member, failed: bool, now: float) -> None:
        self._over.append((member.backend.host, failed))
        self._balancer.done(member, failed, now)

    def parts(self) -> tuple[Balancer, ...]:
        return self._balancer.parts()


class _Runners:
    """A new greenlet for each job, so that the one of a job that is over is not taken for one that was left."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor

    def start(self, run: Callable[[Any], None], job: Any) -> None:
        greenlet(run, self.reactor.hub).switch(job)


class Stage:
    """A worker's data plane, and the parties around it.

    logged: exchanges that are over and that the script has not looked at; all_logged: every one. reports: what the master was told and
    the script has not looked at. defects: what was told to `Proxy.defect`, likewise. over: backends of attempts that are over, as the
    balancers heard, and whether by the backend's fault. measured: seconds to a response head, as they heard, not looked at yet.
    """

    def __init__(self, text: str, backwards: bool = False, filters: tuple[type[Filter], ...] = ()) -> None:
        """text: the configuration. backwards: see `Loop`. filters: further kinds, asked before the others."""
        random.seed(7)
        self.loop = Loop(backwards)
        self.hub = Hub(self.loop)
        self.network = Network(self.loop)
        self.reactor = Reactor(self.hub, self.loop.clock, self.network.socket, self.network.poll)
        self.table = Table(12, 6, 3)
        os.close(self.table.descriptor)  # nobody else maps it, and its mapping has another one; a stage a row would use them up
        self.leases = Leases(self.table)
        self.view = SeatView(self.table)
        q = self.q = self.table.q
        for seat in (SEAT, OTHER_SEAT):
            q[self.table.seat(seat) + Seat.PID] = seat
            q[self.table.seat(seat) + Seat.HEARTBEAT] = int((START + 3600) * 1e9)
        self.view.sit(SEAT)
        self.snapshot = self._leased(_snapshot(text, (*filters, *KINDS)))
        self.plan = compile_plan(self.snapshot, self.view, self.loop.clock, (*filters, *KINDS))
        self.over: list[tuple[str, bool]] = []
        self.measured: list[tuple[str, float]] = []
        self._listen()
        self.logged: list[Exchange] = []
        self.all_logged: list[Exchange] = []
        self.reports: list[tuple[str, str, int]] = []
        self.defects: list[str] = []
        self.clients: dict[Downstream, Connection] = {}
        self.proxy = Proxy(self.reactor, self.view, self.plan, self._log, self._defect, self._report)
        self.proxy.ended = self._ended
        self.proxy.runners = _Runners(self.reactor)  # type: ignore[assignment]
        self.acceptors = {
            listener.address: SimpleNamespace(
                address=listener.address,
                port=80,
                proxy_protocol=listener.proxy_protocol,
                tls=listener.tls,
                slot=listener.slot,
                lease=self.view.location_leases.get(listener.slot, 0),
                closed=False,
                last_plan=None,
            )
            for listener in self.snapshot.listeners
        }
        self._sweep(self.loop.now)
        self.reactor.start(self._sweep)

    def _listen(self) -> None:
        """Hear what the balancers hear."""
        for service in self.plan.services.values():
            for location in service.locations:
                if not isinstance(location.balancer, _Heard):
                    location.balancer = _Heard(location.balancer, self.over, self.measured)

    def _leased(self, snapshot: Snapshot) -> Snapshot:
        snapshot = self.leases.assign(snapshot)
        self.leases.commit(snapshot)
        for backend in self.backends(snapshot):
            at = self.table.backend(backend.slot)
            if not self.q[at + BackendCells.STATE]:
                self.q[at + BackendCells.STATE] = BackendCells.UP
                self.q[at + BackendCells.ADMIT] = BackendCells.ALL
        return snapshot

    @staticmethod
    def backends(snapshot: Snapshot) -> list[Any]:
        """The backends of a configuration, in its order."""
        return [backend for service in snapshot.services for location in service.locations for backend in location.backends]

    # ------------------------------------------------------------------------------------------------------- as the worker does it

    def _sweep(self, now: float) -> None:
        self.proxy.keep_time(now, self.wall(), ID)
        self.proxy.sweep(now)
        for client in [client for client in self.clients if client.connection.stream.ready]:
            client.look_again()
        park([client.connection for client in self.clients], now)

    def wall(self) -> float:
        """Seconds since 1970."""
        return WALL + self.loop.now - START

    def _log(self, exchange: Exchange) -> None:
        self.logged.append(exchange)
        self.all_logged.append(exchange)

    def _defect(self, what: str) -> None:
        error = sys.exc_info()[1]
        assert error is not None, "a defect is told of outside of an except clause"
        self.defects.append(f"{what}: {type(error).__name__}: {error}")

    def _report(self, member: Member, kind: str, status: int, text: str) -> None:
        self.reports.append((member.backend.host, kind, status))

    def accept(self, connection: Connection, ip: str, port: int, address: str) -> None:
        """A client has connected to a listener."""
        sock = Socket(self.network, connection)

        def welcome() -> None:
            trusted = self.proxy.plan.trust.trusts(ip)
            client = Downstream(ClientConnection(Stream(self.reactor, sock), ip, port, self.acceptors[address], trusted))
            self.clients[client] = connection
            self.proxy.runners.start(self.proxy.converse, client)

        self.loop.run_callback(welcome)

    def _ended(self, connection: ClientConnection) -> None:
        for client in [client for client in self.clients if client.connection is connection]:
            del self.clients[client]

    def drain(self) -> None:
        """The worker is to end: finish what is under way, and wait for idle connections no longer than the grace."""
        self.proxy.draining = True
        self.proxy.end_tunnels(self.snapshot.drain_timeout)
        self._close(*self.acceptors.values())

    def _close(self, *acceptors: Any) -> None:
        for acceptor in acceptors:
            acceptor.closed = True
            for client in self.clients:
                if client.connection.listener is acceptor:
                    self.loop.run_callback(client.connection.dismiss, self.snapshot.drain_timeout)

    def reload(self, text: str) -> None:
        """Another configuration comes into force."""
        new = replace(_snapshot(text), generation=self.snapshot.generation + 1)
        leased = self._leased(new)
        change = diff(self.snapshot, leased)
        before = self.plan
        self.plan = before.updated(change)
        self.snapshot = self.plan.snapshot
        self._listen()
        self.proxy.adopt(self.plan)
        for listener in change.listeners_removed:
            acceptor = self.acceptors.pop(listener.address)
            acceptor.last_plan = before
            self._close(acceptor)
        Generations(self.proxy, [client.connection for client in self.clients]).look()

    # ------------------------------------------------------------------------------------------------------------ for the script

    def first_location(self) -> Any:
        """The first compiled location."""
        return next(iter(self.plan.services.values())).locations[0]

    def learn(self, seconds: float) -> None:
        """The first location has seen enough answers that took so long to know what is usual."""
        for _ in range(200):
            self.first_location().latencies.add(seconds)

    def slot(self, ip: str) -> int:
        """The slot of a backend."""
        return int(next(backend.slot for backend in self.backends(self.snapshot) if backend.host == ip))

    def cell(self, ip: str, cell: int, seat: int = SEAT) -> int:
        """Index of a `SeatBackend` cell."""
        return self.table.seat_backend(seat, self.slot(ip)) + cell

    def counted(self, ip: str) -> dict[str, int]:
        """The counters of a backend that are not zero."""
        counts = {name: self.q[self.cell(ip, cell)] for name, cell in _COUNTERS.items()}
        counts["responses"] = responses(self.q, self.cell(ip, 0))
        return {name: count for name, count in counts.items() if count}

    def ever_begun(self, ip: str) -> int | None:
        """Attempts begun at a backend, None if it is not configured (any more)."""
        if not any(backend.host == ip for backend in self.backends(self.snapshot)):
            return None
        return int(self.q[self.cell(ip, SeatBackend.REQUESTS)])

    def location_cells(self, *names: int) -> list[int]:
        """Sums of `SeatLocation` cells over all locations, the one for what no location took included."""
        at = [self.table.seat_location(SEAT, slot) for slot in range(self.table.locations + 1)]
        sums = [sum(cells) for cells in zip(*(self.q[row : row + SeatLocation.CELLS].tolist() for row in at), strict=True)]
        return [sums[name] for name in names]

    def counted_there(self) -> dict[str, int]:
        """The counters of all locations that are not zero."""
        counts = self.location_cells(*_LOCATION_COUNTERS.values())
        return {name: count for name, count in zip(_LOCATION_COUNTERS, counts, strict=True) if count}

    def faults(self) -> list[str]:
        """What must hold at any time: every exchange is counted exactly once, and nothing was raised into the loop."""
        wrong = [f"raised into the loop: {error!r}" for error in self.loop.errors]
        logged = self.all_logged
        statuses: dict[int, int] = {}
        for exchange in logged:
            statuses[STATUS_CELL[exchange.status]] = statuses.get(STATUS_CELL[exchange.status], 0) + 1
        cells = range(SeatLocation.BYTES_IN)
        counted = {cell: count for cell, count in zip(cells, self.location_cells(*cells), strict=True) if count}
        if counted != statuses:
            wrong.append(f"statuses counted {counted}, logged {statuses}")
        buckets = sum(self.location_cells(*range(SeatLocation.BUCKET, SeatLocation.BUCKET + len(BUCKETS) + 1)))
        if buckets != len(logged):
            wrong.append(f"{buckets} durations counted, {len(logged)} exchanges logged")
        wrong += [f"the wall clock of {one} is wrong" for one in logged if abs(one.wall - WALL - one.started + START) > 0.001]
        (duration,) = self.location_cells(SeatLocation.DURATION)
        if duration != sum(int(exchange.duration * 1e9) for exchange in logged):
            wrong.append(f"{duration} ns counted, logged {[exchange.duration for exchange in logged]}")
        for slot, backend in enumerate(self.backends(self.snapshot)):
            latency = self.q[self.table.seat_backend(SEAT, slot) + SeatBackend.LATENCY] / 1e9
            answered = [one for one in logged if one.backend is not None and one.backend.backend.id == backend.id]
            most = sum(one.upstream_time for one in answered if one.upstream_time > 0)
            least = sum(one.upstream_time for one in answered if one.upstream_time > 0 and not one.error)
            if latency < least - 1e-6 or (latency > most + 1e-6 and all(one.tries < 2 for one in logged)):
                wrong.append(f"{latency} s of latency counted at {backend.host}, logged {least} to {most}")
        octets = self.location_cells(SeatLocation.BYTES_IN, SeatLocation.BYTES_OUT)
        expected = [sum(exchange.bytes_in for exchange in logged), sum(exchange.bytes_out for exchange in logged)]
        if octets != expected:
            wrong.append(f"octets in and out counted {octets}, logged {expected}")
        for slot in range(len(self.backends(self.snapshot))):
            row = self.table.seat_backend(SEAT, slot)
            cells = self.q[row : row + SeatBackend.CELLS].tolist()
            if any(cell >> 63 for cell in cells):
                wrong.append(f"a counter of backend {slot + 1} is below zero")
            none, *classes = (cells[cell] for cell in SeatBackend.CLASSES)
            failures, attempts = cells[SeatBackend.FAILURES], cells[SeatBackend.REQUESTS]
            if not (responses(self.q, row) <= sum(classes) <= attempts - none and none <= failures <= none + sum(classes)):
                wrong.append(
                    f"responses of backend {slot + 1} by class: {classes}, none: {none}; {attempts} attempts, {failures} failed"
                )
            made = sum(cells[SeatBackend.CONNECT_BUCKET : SeatBackend.CONNECT_BUCKET + len(WAITS) + 1])
            if made > cells[SeatBackend.CONNECTS]:
                wrong.append(f"{made} connections to backend {slot + 1} were made, of {cells[SeatBackend.CONNECTS]}")
        return wrong

    def left_over(self) -> list[str]:
        """What is left when all clients have gone and time has passed, which must be nothing. Ends the world."""
        hub, loop = self.hub, self.loop
        hub.jump(0.3)
        hub.jump(15.0)
        hub.jump(0.3)
        wrong: list[str] = []
        for slot, backend in enumerate(self.backends(self.snapshot)):
            row = self.table.seat_backend(SEAT, slot)
            active, wanted = self.q[row + SeatBackend.ACTIVE], self.q[row + SeatBackend.WANTED]
            idle, open_ = self.q[row + SeatBackend.IDLE], self.q[row + SeatBackend.OPEN]
            if active or wanted or idle != open_:
                wrong.append(f"{backend.host}: {active} active, {wanted} wanted, {open_} open, {idle} of them idle")
        queued = self.location_cells(SeatLocation.QUEUED, SeatLocation.QUEUE_HEAD)
        if any(queued):
            wrong.append(f"somebody is counted as waiting: {queued}")
        hub.jump(3600.0)
        hub.jump(0.3)
        for slot, backend in enumerate(self.backends(self.snapshot)):
            row = self.table.seat_backend(SEAT, slot)
            if self.q[row + SeatBackend.IDLE] or self.q[row + SeatBackend.OPEN]:
                wrong.append(f"{backend.host}: connections are counted that should have been closed")
        wrong += [f"a client's greenlet has not ended: {connection.name}" for connection in self.clients.values()]
        wrong += [f"not closed: {socket!r}" for socket in self.network.sockets.values()]
        wrong += [f"still watched: {watcher!r}" for watcher in loop.watchers]
        wrong += [f"a greenlet is left: {one}" for one in hub.greenlets]
        if len(self.reactor.streams):
            wrong.append(f"streams are left: {self.reactor.streams}")
        if len(loop.timers) != 1:  # the sweep's
            wrong.append(f"timers are left: {list(loop.timers)}")
        if self.proxy.deadlines:
            wrong.append("deadlines of exchanges are left")
        wrong += self.faults()
        hub.end()
        return wrong

    # what the master would say

    def admit(self, ip: str, admit: int, *, state: int = BackendCells.UP, trial_limit: int = 1) -> None:
        """Whether, and how, a backend may be picked."""
        at = self.table.backend(self.slot(ip))
        self.q[at + BackendCells.STATE], self.q[at + BackendCells.ADMIT] = state, admit
        self.q[at + BackendCells.TRIAL_LIMIT] = trial_limit

    def panic(self, on: bool) -> None:
        """Too few backends of the first location are well."""
        self.q[self.table.location(0) + LocationCells.PANIC] = int(on)
