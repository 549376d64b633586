"""A proxy worker: accepts on every listener, runs one greenlet per connection, and counts in its own seat.

`terraster.proxy` has the life of a request. This module has the rest: acceptors, the periodic sweep, reloads and the drain.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from typing import Any

import gevent
from gevent.event import Event

from terraster.balance.contract import Member
from terraster.certs.challenges import Answers
from terraster.config.diff import Change
from terraster.config.snapshot import AccessLog, Listener
from terraster.config.tracing import Sampling
from terraster.exchange import Exchange
from terraster.logs.access import FLUSH, AccessLogs
from terraster.logs.soon import Soon
from terraster.logs.tracer import Tracer
from terraster.net.connection import Connection
from terraster.net.downstream import Downstream
from terraster.net.parked import park
from terraster.net.reactor import SWEEP, Reactor
from terraster.net.stream import Stream
from terraster.net.tunnel import FAREWELL
from terraster.plugins.host import Host, uses
from terraster.policy.accept import SLACK, share
from terraster.proxy import Proxy
from terraster.state.cells import MasterCells, Seat

from . import limiters
from .accept import Acceptor
from .channel import ChannelClosed
from .descriptors import Descriptors
from .generations import Generations
from .heap import Heap
from .lag import Lag
from .process import Process
from .witness import QUESTIONS, Witness

__all__ = ["ProxyWorker"]

_TOGETHER = 0.005  # seconds between two messages to the master about traffic
_MOST_REPORTS = 4096  # reports that wait for the master; beyond that the oldest are dropped


class ProxyWorker(Process):
    """A process that serves traffic."""

    role = Seat.PROXY
    name = "proxy"

    def start(self) -> None:
        self.connections: set[Connection] = set()
        self.acceptors: dict[str, Acceptor] = {}
        self.heap = Heap()
        self.descriptors = Descriptors(self.view, self.connections, len(self.listeners), self.log.warning)
        self.reactor = self.descriptors.reactor = Reactor(socket=self.descriptors.socket)
        self.logs = AccessLogs(self.log.warning, self._flush_soon)
        self._flush = Soon(self.reactor.loop, FLUSH, self.logs.flush)
        self.tracer = Tracer(self.traces, self.log.warning)
        self.unrouted_log = self._log_of(self.snapshot.access_log, self.snapshot.sampling)
        self.proxy = Proxy(self.reactor, self.view, self.plan, self._log, self._defect, self._report)
        self.proxy.ended = self._ended
        self.witness = Witness(self.proxy, self.connections, self.tails)
        self.proxy.handshakes.log = self.proxy.http2_faults.log = self.log.info
        self.proxy.http2_faults.warn = self.proxy.overload.warn = self.log.warning
        self.proxy.contexts.secrets = self.ticket_secrets
        self.proxy.challenges.use(self.answers)
        self.descriptors.origins = self.proxy.origins
        self.plugins: Host | None = None
        self._use_plugins()
        self._reports: deque[tuple[int, int, str, int, str, float]] = deque(maxlen=_MOST_REPORTS)
        self._news = Event()
        gevent.spawn(self._tell_master)
        self.generations = Generations(self.proxy, self.connections)
        self._id_prefix = secrets.token_hex(8).encode("ascii")
        self._limit = self.plan.limits.connections
        self._sweep(time.monotonic())
        self.reactor.start(Lag(self.view).swept, self._sweep)
        for listener in self.plan.snapshot.listeners:
            self._accept_on(listener, self.listeners[listener.address])

    def _use_plugins(self) -> None:
        """Load the plugins of the configuration, and set them up. May wait."""
        plugins = self.plan.snapshot.plugins
        if self.plugins is None:
            if not plugins:
                return
            self.plugins = Host(self.view, self.plan.runtime.bodies, self.log, self._leave_for_another)
            self.plan.runtime.plugins = self.plugins
        self.plugins.adopt(plugins)
        self.plugins.set_up(uses(self.plan.snapshot))

    def _leave_for_another(self) -> None:
        """Drain; the master starts a replacement at once."""
        gevent.spawn(self._leave, None)

    def _accept_on(self, listener: Listener, listening: Any) -> None:
        acceptor = Acceptor(
            self.reactor,
            listener,
            listening,
            self._welcome,
            self._room,
            self._share,
            self.descriptors.not_accepted,
            self.view.location_leases.get(listener.slot, 0),
        )
        self.acceptors[listener.address] = acceptor
        acceptor.start()

    def _room(self) -> int:
        """The number of connections that this worker may accept. If descriptors are short, idle clients make room. Runs on the hub."""
        count, most = len(self.connections), self.descriptors.most
        if self._limit and count >= self._limit:
            self._full(Seat.CONNECTIONS_LIMIT)
            return 0
        if count < most:
            return min(most, self._limit or most) - count
        if self.descriptors.make_room():
            return 1
        if self._full(Seat.NO_DESCRIPTORS):
            self.descriptors.lets_wait()
        self.proxy.crowded = self.descriptors.crowded
        return 0

    def _full(self, why: int) -> bool:
        """Note that a client waits because this worker is full. True if none waited before."""
        q, base = self.view.q, self.view.base
        begins = not q[base + Seat.FULL_SINCE]
        if begins:
            q[base + Seat.FULL_SINCE] = time.monotonic_ns()
        q[base + Seat.FULL_WHY] = why
        return begins

    def _share(self) -> int:
        """The number of connections that this worker should accept now, compared with all workers that serve."""
        mine = len(self.connections)
        if mine < SLACK:  # whatever the others have
            return SLACK - mine
        q = self.view.q
        total = workers = 0
        for base in self.view.bases:
            if q[base + Seat.ROLE] == Seat.PROXY and not q[base + Seat.DRAINING]:
                total += q[base + Seat.CONNECTIONS]
                workers += 1
        return share(mine, total, workers)

    def _welcome(self, sock: Any, peer_ip: str, peer_port: int, acceptor: Acceptor) -> None:
        """Count a new connection and start its greenlet. Runs on the hub."""
        trusted = self.proxy.plan.trust.trusts(peer_ip)
        connection = Connection(Stream(self.reactor, sock), peer_ip, peer_port, acceptor, trusted)
        self.connections.add(connection)
        q, base = self.view.q, self.view.base
        q[base + Seat.CONNECTIONS] += 1
        q[base + Seat.ACCEPTED] += 1
        self.descriptors.taken(sock.fileno())
        self.proxy.runners.start(self.proxy.converse, Downstream(connection))

    def _ended(self, connection: Connection) -> None:
        """Count a connection that is over."""
        self.connections.discard(connection)
        q, base = self.view.q, self.view.base
        q[base + Seat.CONNECTIONS] -= 1
        if q[base + Seat.FULL_SINCE]:
            q[base + Seat.FULL_SINCE] = 0
            self.proxy.crowded = False

    def _log(self, exchange: Exchange) -> None:
        place = exchange.location or exchange.service
        if place is None:
            log = self.unrouted_log
        else:
            log = place.log
            if log is None:
                log = place.log = self._log_of(place.access_log, place.tracing)
        if log is not False:
            log(exchange)

    def _log_of(self, config: AccessLog, tracing: Sampling | None) -> Any:
        """Takes an exchange, for a log with these settings; False if the log is off, and no request is recorded."""
        writer: Any = self.logs.writer(config) or False
        if tracing is not None:
            writer = self.tracer.writer(tracing, config, writer)
        return writer and writer.write

    def _flush_soon(self) -> None:
        self._flush.wish()

    def _report(self, member: Member, kind: str, status: int, text: str) -> None:
        lease = self.view.backend_leases.get(member.slot, 0)
        self._reports.append((member.slot, lease, kind, status, text, time.time()))
        self._news.set()

    def _tell_master(self) -> None:
        """Report failed attempts and circuit trials to the master. The first report goes at once; those of the next 5 ms go together."""
        while True:
            self._news.wait()
            self._news.clear()
            batch = list(self._reports)
            self._reports.clear()
            try:
                self.channel.send(("traffic", batch))
            except ChannelClosed:
                return  # `_listen_to_master` handles it
            gevent.sleep(_TOGETHER)

    def _defect(self, what: str) -> None:
        self.log.exception("%s", what)

    def _sweep(self, now: float) -> None:
        """The work of a few times a second: time stamps, logs, timeouts. Runs on the hub."""
        proxy = self.proxy
        proxy.keep_time(now, time.time(), self._id_prefix)
        self.logs.tend(now)
        self.tracer.flush()
        proxy.sweep(now)
        self.witness.sweep(now)
        if self.plugins is not None:
            self.plugins.sweep(now)
        self.descriptors.tell(now)
        for connection in [connection for connection in self.connections if connection.plain.ready]:
            connection.downstream.look_again()
        self.heap.swept(park(self.connections, now))

    def apply(self, change: Change, listeners: dict[str, Any]) -> None:
        before = self.plan
        plan = self.plan = before.updated(change)
        self.snapshot = plan.snapshot
        self.proxy.adopt(plan)
        self._limit = plan.limits.connections
        self._use_plugins()
        now = {one.address: one for one in plan.snapshot.listeners}
        for listener in change.listeners_removed:
            acceptor = self.acceptors.pop(listener.address, None)
            if acceptor is not None:
                following = now.get(listener.address)
                if following is None:
                    acceptor.last_plan = before
                elif following.tls:
                    acceptor.tls = True  # who came in clear does not get past the handshake that is asked for now
                self.reactor.loop.run_callback(self._give_up, acceptor, following is None)
        for listener in change.listeners_added:
            self._accept_on(listener, listeners[listener.address])
        self.descriptors.listen(len(self.acceptors))
        self.tracer.retain()
        self.unrouted_log = self._log_of(plan.snapshot.access_log, plan.snapshot.sampling)
        wanted = {service.access_log for service in plan.snapshot.services}
        wanted |= {
            log for service in plan.snapshot.services for place in service.locations if (log := place.access_log) is not None
        }
        self.logs.retain([*wanted, plan.snapshot.access_log])

    def relisten(self, listeners: dict[str, Any]) -> None:
        for address, listening in listeners.items():
            if address in self.acceptors and not self.draining:
                self.reactor.loop.run_callback(self.acceptors[address].move, listening)
            else:
                listening.close()

    def take_ticket_secrets(self, secrets: Any) -> None:
        self.proxy.contexts.secrets = secrets

    def challenge(self, answers: Answers) -> None:
        self.proxy.challenges.use(answers)

    def tell(self, what: str, about: str) -> Any:
        if what in QUESTIONS:
            return self.witness.tell(what, about)
        if what in limiters.QUESTIONS:
            return limiters.tell(self.plan, what, about)
        return self.proxy.mirrors.differences(about) if what == "mirrors" else None

    def look(self) -> None:
        self.generations.look()
        q, at = self.view.q, self.view.base + Seat.OLD
        cells = [generation << 24 | count for generation, count in self.generations.counts.items()][: Seat.MOST_OLD]
        for number, cell in enumerate((*cells, *[0] * (Seat.MOST_OLD - len(cells)))):
            q[at + number] = cell

    def shareable(self) -> dict[str, Any]:
        return {address: acceptor.socket for address, acceptor in self.acceptors.items() if not acceptor.closed}

    def oldest(self) -> int:
        return self.generations.oldest()

    def drain(self) -> None:
        self.proxy.draining = True
        self.proxy.end_tunnels(self.plan.snapshot.drain_timeout)
        q, cells = self.view.q, self.view.table.master
        last = self.abandoned or (q[cells + MasterCells.STOPPING] != MasterCells.RUNNING and not q[cells + MasterCells.SHARED])
        for acceptor in self.acceptors.values():
            self.reactor.loop.run_callback(self._give_up, acceptor, last)

    def _give_up(self, acceptor: Acceptor, last: bool) -> None:
        """Close a listener, and bound the waits of its idle connections. A busy connection ends with its answer. Runs on the hub.

        last: see `Acceptor.close`. Every worker acts as if it were the last one, because none knows which one is.
        """
        if acceptor.closed:
            return
        acceptor.close(last)
        limit = self.plan.snapshot.drain_timeout
        for connection in list(self.connections):
            if connection.listener is acceptor:
                connection.dismiss(limit)

    def farewell(self) -> float:
        return FAREWELL + SWEEP * 5 if self.proxy.tunnels else 0.0

    def idle(self) -> bool:
        return not self.connections and all(acceptor.closed for acceptor in self.acceptors.values())

    def publish_losses(self, wall: float) -> None:
        super().publish_losses(wall)
        self.logs.losses.publish(self.view.q, self.view.base, Seat.ACCESS_LINES_LOST, wall)
        self.tracer.publish(self.view.q, self.view.base)

    def stop(self) -> None:
        self.proxy.mirrors.finish()
        self.proxy.handshakes.finish()
        self.proxy.http2_faults.finish()
        if self.plugins is not None:
            self.plugins.close()
        self.tracer.close()
        self.logs.close()

    def reopen(self) -> None:
        self.logs.reopen()
