"""The data plane of one worker: the parts that all its requests share."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from terraster.balance.contract import Member
from terraster.certs.challenges import Challenges
from terraster.certs.client_contexts import ClientContexts
from terraster.certs.contexts import Contexts
from terraster.errors import BACKEND, US, HttpError
from terraster.exchange import Exchange
from terraster.location_plan import LocationPlan
from terraster.logs.failures import Failures
from terraster.net.body import Buffer
from terraster.net.connection import Connection
from terraster.net.origin import Origin
from terraster.net.passwords import VerifiedPasswords
from terraster.net.reactor import SHORT, Reactor
from terraster.net.runners import Runners
from terraster.net.tcp_keepalive import options
from terraster.net.tunnel import Tunnel
from terraster.outcomes import Outcomes, Report
from terraster.plan import Plan
from terraster.state.cells import SeatLocation
from terraster.state.view import SeatView
from terraster.wire.answers import http_date

from .handshakes import Handshakes
from .http2_faults import Http2Faults
from .overload import Overload
from .slow_clients import SlowClients

__all__ = ["STOPPING", "DataPlane"]

STOPPING = "Terraster ended the tunnel, because it stops"

_BUDGET_REFUSALS = SeatLocation.BUDGET_REFUSALS


class DataPlane:
    """The parts that all requests of one worker share.

    plan:      the current one; a reload swaps it
    draining:  True: finish open requests and reuse no client connection
    crowded:   True: other clients wait, and there is no room for them. So a client's connection ends with its answer
    log:       called with a finished exchange whose location has no log of its own
    tail:      called with every finished exchange while an operator listens, else None
    ended:     called with a client's connection that is over
    defect:    called in an ``except`` clause for an exception that is not an `HttpError`
    outcomes:  counts attempts and reports failures to the master
    origins:   by backend id
    contexts:  the TLS settings of services; client_contexts: those towards backends
    handshakes: counts TLS handshakes; http2_faults: counts HTTP/2 connections, and those that end by a fault
    failures:  the last requests that came to a bad end
    overload:  measures what new requests are refused for
    slow_clients: requests whose clients have to keep to a least rate
    challenges: answers to an authority
    runners:   the greenlets that carry connections, and requests of HTTP/2
    buffer:    the memory for long bodies
    deadlines: exchange → monotonic time at which it must be over
    tunnels:   those that are open, and their exchanges
    tunnels_until: while the worker drains, the monotonic time from which on tunnels are ended
    id_prefix, id_count: a request id is the prefix, which no other worker has, and the count of requests in this worker in hexadecimal
    id_start:  the prefix and the count without its last two digits
    wall:      seconds to add to the monotonic clock for the wall clock
    date:      the current Date field line
    """

    def __init__(
        self,
        reactor: Reactor,
        view: SeatView,
        plan: Plan,
        log: Callable[[Exchange], None],
        defect: Callable[[str], None],
        report: Report,
    ) -> None:
        self.reactor = reactor
        self.clock = reactor.clock
        self.view = view
        self.plan = plan
        self.log = log
        self.tail: Callable[[Exchange], None] | None = None
        self.defect = defect
        self.ended: Callable[[Connection], None] = _forget
        self.outcomes = Outcomes(view, report, reactor.clock)
        self.draining = False
        self.crowded = False
        self.deadlines: dict[Exchange, float] = {}
        self.tunnels: dict[Tunnel, Exchange] = {}
        self.tunnels_until = inf
        self.origins: dict[str, Origin] = {}
        self.contexts = Contexts()
        self.failures = Failures()
        self.handshakes = Handshakes(view, reactor)
        self.http2_faults = Http2Faults(view, reactor.clock)
        self.overload = Overload(reactor, plan.runtime.gates)
        self.slow_clients = SlowClients(view)
        self.client_contexts = ClientContexts()
        self.challenges = Challenges()
        self.runners = Runners(reactor)
        self.buffer = Buffer()
        plan.runtime.passwords = VerifiedPasswords(reactor)
        self.wall = 0.0
        self.date = b""
        self.id_prefix = self.id_start = b""
        self.id_count = 0

    def keep_time(self, now: float, wall: float, id_prefix: bytes) -> None:
        """Set the offset of the wall clock and the Date for requests until the next call. Called a few times a second."""
        self.wall = wall - now
        self.date = b"Date: %b\r\n" % http_date(wall)
        self.id_prefix = id_prefix
        self.number()

    def number(self) -> None:
        """Make the start that the ids of the next requests have in common. Called after every change of the prefix, and for each number of
        requests that 256 divides."""
        self.id_start = b"%b%06x" % (self.id_prefix, self.id_count >> 8)

    def sweep(self, now: float) -> None:
        """End the exchanges that have exceeded their deadline, and let idle connections to backends expire. Called a few times a second, on
        the hub."""
        self.overdue(now)
        self.outcomes.sweep(now)
        self.failures.gather()
        self.handshakes.sweep(now)
        self.http2_faults.sweep(now)
        self.overload.sweep(now)
        if self.slow_clients.watched:
            self.slow_clients.sweep(now)
        for tunnel in [tunnel for tunnel in self.tunnels if tunnel.leave_at <= now]:
            tunnel.end(now)
        for origin in self.origins.values():
            origin.pool.expire(now)

    def limit(self, exchange: Exchange, seconds: float) -> None:
        """Limit an exchange to this many seconds."""
        self.deadlines[exchange] = deadline = exchange.started + seconds
        if seconds < SHORT:
            self.reactor.watch(self, deadline)

    def next_deadline(self) -> float:
        """See `terraster.net.stream.Waiter`."""
        return min(self.deadlines.values(), default=inf)

    def end_tunnels(self, seconds: float) -> None:
        """The worker drains: tunnels may stay for so long."""
        self.tunnels_until = self.clock() + seconds
        for tunnel in self.tunnels:
            tunnel.leave(self.tunnels_until, STOPPING)

    def overdue(self, now: float) -> None:
        """End the exchanges that took too long. Called on the hub."""
        for exchange, deadline in list(self.deadlines.items()):
            if now >= deadline:
                del self.deadlines[exchange]
                exchange.client.interrupt(_too_long(exchange, deadline))

    def origin(self, member: Member, location: LocationPlan) -> Origin:
        """The origin of a backend that no request has used yet.

        A request of an older plan may need a backend that the current plan does not have, or reaches in another way. Then the origin is only
        for that request."""
        origin = Origin(self.reactor, member.backend, member.offset, location.pool, self.view, self.client_contexts)
        origin.keepalive = options(self.plan.snapshot.tcp_keepalive)
        if origin.serves(self.plan.backends.get(member.backend.id)):
            self.origins[member.backend.id] = origin
        else:
            origin.close()
        return origin

    def afford(self, location: LocationPlan) -> bool:
        """Spend one retry of the location's budget. False if the budget is used up, which is counted."""
        if location.budget.spend(location.requests, self.plan.snapshot.workers, self.clock()):
            return True
        self.view.q[self.view.locations + location.offset + _BUDGET_REFUSALS] += 1
        return False

    def adopt(self, plan: Plan) -> None:
        """Use a new plan from the next request on. Idle connections to backends that are gone or have another address are closed. The new
        limits apply to the other connections."""
        before, self.plan = self.plan.services, plan
        for name, service in plan.services.items():
            if before.get(name) is not service:
                for location in service.locations:
                    for member in location.members:
                        if member.backend.id in self.origins:
                            self.origins[member.backend.id].pool.limit(location.pool)
        keepalive = options(plan.snapshot.tcp_keepalive)
        for name, origin in list(self.origins.items()):
            origin.keepalive = keepalive
            if not origin.serves(plan.backends.get(name)):
                origin.close()
                del self.origins[name]


def _forget(connection: Connection) -> None:
    """Nobody counts the connections."""


def _too_long(exchange: Exchange, deadline: float) -> HttpError:
    """The error for an exchange that took too long. A backend is blamed only if it had the whole request and half of the time. So it is not
    blamed for a slow client or a queue, and never for a deadline that the client has set."""
    call = exchange.grpc
    if call is not None and call.bound:
        return HttpError("the deadline of the client has passed", status=504, reason="http_response_timeout")
    asked = exchange.asked if exchange.tries else inf
    had_its_time = not exchange.status and not exchange.unread and deadline - asked >= asked - exchange.started
    blame = BACKEND if had_its_time else US
    return HttpError("the exchange took too long", status=504, reason="http_response_timeout", blame=blame)
