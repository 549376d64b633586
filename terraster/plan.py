"""The Plan: a Snapshot compiled for requests, so that no request looks into a configuration.

The master compiles it first, and never sends a Snapshot that cannot be compiled. Its children inherit the plan through the fork, and
rebuild only the parts that a reload changed. A Plan holds values, balancers and offsets into the shared table. Sockets, logs and other
objects of one process are elsewhere, under stable ids, so that they outlive the plan.

No object here refers back to its owner. So a replaced plan is freed at once, without the garbage collector. A pass of the collector over 10,000
services would delay every open request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any

from .balance.contract import Balancer, Member
from .balance.registry import make
from .config.diff import Change, patch
from .config.snapshot import Backend, Filters, Location, Service, Snapshot, Statuses, Timeouts
from .errors import BadRequest, HttpError
from .exchange import Exchange
from .filters.answer import Answer
from .filters.contract import Counted, Filter, Place, cells, compile_hooks, counted, defined
from .filters.registry import KINDS
from .net.queue import Queue
from .net.yielding import yield_to_loop
from .policy.budget import Budget
from .policy.forwarded import Trust
from .policy.quantile import Latencies
from .route.location import forward_path, map_back
from .route.prefix import Prefixes
from .route.router import Router
from .state.table import BackendCells, LocationCells, SeatLocation
from .state.view import SeatView
from .wire.names import FORWARDED, FORWARDED_HOST, FORWARDED_PORT, FORWARDED_PROTO, TWIN

__all__ = ["LocationPlan", "Plan", "ServicePlan", "compile_plan"]

_NOTHING: frozenset[int] = frozenset()
_TWINS = frozenset((TWIN,))
_TRUSTED = frozenset((FORWARDED, FORWARDED_PROTO, FORWARDED_HOST, FORWARDED_PORT))

_SERVER_ERRORS = (500, 599)

_TURN = 50
"""Services compiled between two turns of the event loop: about 2 ms."""


class LocationPlan:
    """One location, compiled.

    path:         as configured
    offset:       of its row in a seat (add `SeatView.locations`)
    passthrough:  True if the matched path is forwarded unchanged
    limited:      True if a backend may be full, so that requests wait in `queue`
    lowest_bad_status: the lowest status that may count against a backend (`bad_statuses`) or be retried; the worker reports statuses in
                  `reported` to the master
    requests:     number of requests in this process
    hedge:        share of latencies, 0.0 = never
    panic_at:     index of its PANIC cell
    watched:      True if an attempt changes more than the counters: the location has limits, hedging, a circuit, a total timeout, or an
                  algorithm that measures
    per_try:      seconds for an attempt until its response head, 0.0 = no separate limit
    response_timeout: seconds to wait for a response head, 0.0 = no limit
    on_request … on_log: the hooks of its filters (`terraster.filters.contract`)
    keep, keep_trusted: kinds of special fields to forward, from strangers and from trusted peers
    drops_twins:  True if a name with ``_`` is dropped when a rule drops the same name with ``-`` (`terraster.wire.names`)
    log:          the access-log writer of this process, bound at the first request (`terraster.worker`)
    """

    __slots__ = (
        "path",
        "offset",
        "members",
        "balancer",
        "timeouts",
        "body_size",
        "ignore_client_abort",
        "strict_responses",
        "drops_twins",
        "keep",
        "keep_trusted",
        "access_log",
        "log",
        "on_request",
        "on_upstream",
        "on_response",
        "on_error",
        "on_log",
        "bad_statuses",
        "breaker",
        "budget",
        "hedge",
        "latencies",
        "limited",
        "queue",
        "response_timeout",
        "per_try",
        "pool",
        "reported",
        "requests",
        "retry",
        "watched",
        "lowest_bad_status",
        "passthrough",
        "outlier",
        "panic_at",
        "panic_threshold",
        "_prefix",
        "_rewrite",
    )

    def __init__(
        self,
        location: Location,
        service: Service,
        view: SeatView,
        filters: tuple[Filter, ...],
        old: LocationPlan | None,
        now: float,
    ) -> None:
        self.path = location.path
        self.offset = location.slot * SeatLocation.CELLS
        self.members = tuple(Member(backend, view) for backend in location.backends)
        for member in self.members:
            member.limit(location.pool.max_open)
        self.balancer: Balancer = make(location, self.members)
        if old is not None:
            self.balancer.resume_from(old.balancer)
        self.balancer.prepare()
        self.inherit(location, service)
        self.retry = location.retry
        self.breaker = location.breaker
        self.outlier = location.outlier
        self.panic_threshold = location.panic_threshold
        self.panic_at = view.table.never
        if location.slot != view.table.unrouted:
            self.panic_at = view.table.location(location.slot) + LocationCells.PANIC
        self.pool = location.pool
        self.hedge = location.retry.hedge / 100 if len(self.members) > 1 and not self.balancer.cookie else 0.0
        self.reported = _reported(location)
        self.bad_statuses = (*self.reported, _SERVER_ERRORS) if _measures(location) else self.reported
        self.lowest_bad_status = min((low for low, _high in (*self.bad_statuses, *location.retry.on)), default=1000)
        self.limited = any(member.max_connections for member in self.members)
        self.watched = bool(self.limited or self.hedge or self.breaker is not None or self.balancer.measures or self.timeouts.total)
        self.per_try = location.retry.per_try_timeout
        self.response_timeout = self.timeouts.response
        if self.per_try:
            self.response_timeout = min(self.timeouts.response or self.per_try, self.per_try)
        self.queue = Queue(location.queue, view, self.offset)
        self.budget = Budget(location.retry.budget, location.retry.min_per_second, now)
        self.latencies = Latencies()
        self.requests = 0
        if old is not None:
            self.queue.resume_from(old.queue)
            self.budget.resume_from(old.budget)
            self.latencies, self.requests = old.latencies, old.requests
        self.take(filters)
        self._prefix = location.path.encode("ascii")
        self._rewrite = location.rewrite.encode("ascii")
        self.passthrough = not location.rewrite and not any(backend.base_path for backend in location.backends)

    def inherit(self, location: Location | None, service: Service) -> None:
        """Take the settings of the location, or else of its service."""
        self.timeouts: Timeouts = service.timeouts
        self.body_size = service.limits.body_size
        self.ignore_client_abort = service.ignore_client_abort
        self.strict_responses = service.strict_responses
        self.drops_twins = service.underscores != "pass"
        self.keep, self.keep_trusted = (_NOTHING, _TRUSTED) if self.drops_twins else (_TWINS, _TRUSTED | _TWINS)
        self.access_log = service.access_log
        self.log: Any = None
        if location is not None:
            self.timeouts = location.timeouts or self.timeouts
            self.access_log = location.access_log or self.access_log
            if location.body_size is not None:
                self.body_size = location.body_size
            if location.ignore_client_abort is not None:
                self.ignore_client_abort = location.ignore_client_abort

    def take(self, filters: tuple[Filter, ...]) -> None:
        """Compile the hooks of these filters."""
        self.on_request, self.on_upstream, self.on_response, self.on_error, self.on_log = compile_hooks(filters)
        if self.balancer.cookie:
            self.on_response = (*self.on_response, self.balancer.on_response)

    def forward_path(self, path: bytes, member: Member) -> bytes:
        """The path to ask a backend for, instead of the matched path."""
        return forward_path(path, self._prefix, self._rewrite, member.backend.base_path.encode("ascii"))

    def has_others(self, tried: tuple[Member, ...]) -> bool:
        """True if there are healthy backends that were not tried yet, with or without room."""
        for member in self.members:
            if member.is_up() and member.weight and member not in tried:
                return True
        return False

    def pick_any(self, exchange: Exchange, tried: tuple[Member, ...], now: float) -> Member | None:
        """Any backend, even one in slow start out of turn. It is taken; None if there is none."""
        return self.balancer.pick(exchange, tried, now) or self.balancer.last_resort(tried)

    def nobody(self) -> HttpError:
        """The reason why no backend could be picked."""
        if self.has_others(()):
            return HttpError("all backends are at their limit", status=503, reason="connection_limit_reached")
        return HttpError("no healthy backend", status=503, reason="destination_unavailable")

    def map_back(self, exchange: Exchange, pointers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes, bytes]]:
        """The response fields with a URL of the backend, as (name, value, value in the client's view)."""
        backend = exchange.backend.backend
        changed = []
        for name, value in pointers:
            new = map_back(value, backend, exchange.scheme.encode("ascii"), exchange.host, self._prefix, self._rewrite)
            if new != value:
                changed.append((name, value, new))
        return changed


def _measures(location: Location) -> bool:
    """True if its algorithm uses measurements of backends, so that a quick error must not look like an answer."""
    policy = location.sticky.algorithm if location.policy == "sticky-session" else location.policy
    return policy in ("adaptive", "response-time")


def _reported(location: Location) -> Statuses:
    """The statuses that count against a backend, so that they are reported to the master."""
    statuses: Statuses = ()
    if location.breaker is not None:
        statuses = location.breaker.statuses
    outlier = location.outlier
    if outlier is not None and (outlier.bad_statuses or outlier.ratio):
        statuses = (*statuses, *outlier.statuses)
    return statuses


class Kinds:
    """The kinds of filters, and the cells of their counters. Makes the filters of a location, a service or the top.

    cells, counted: of their counters. bare: a location without backends and filters.
    """

    __slots__ = ("_asked", "_hooks", "bare", "cells", "counted", "kinds")

    def __init__(self, kinds: Sequence[type[Filter]], view: SeatView) -> None:
        self.kinds = tuple(kinds)
        self.cells = cells(kinds)
        self.counted = counted(kinds)
        self._hooks = tuple((kind, defined(kind)) for kind in kinds)
        self._asked = frozenset(kind.name for kind in kinds if "on_request" in defined(kind))
        self.bare = LocationPlan(Location("*", "/", slot=view.table.unrouted), Service("", (), (), ()), view, (), None, 0.0)

    def filters(self, service: Service | None, location: Location | None, written: Filters, view: SeatView) -> tuple[Filter, ...]:
        """The filters of a location. location None: those of the service's rules; service None as well: those of the top. Raises
        `ConfigError`."""
        made = []
        settings = dict(written)
        for kind, hooks in self._hooks:
            if kind.settings is not None and kind.name not in settings:
                continue
            one = kind(settings.get(kind.name), Place(service, location, view, self.cells[kind.name]), view)
            if any(map(one.needs, hooks)):
                made.append(one)
        return tuple(made)

    def may_answer(self, service: Service) -> bool:
        """True if a filter of the service may answer requests for paths without a location."""
        if service.http_redirect or any(location.redirect and location.backends for location in service.locations):
            return True
        return any(name in self._asked for name, _ in service.filters)


def _nothing_here(exchange: Exchange) -> Answer | None:
    raise BadRequest("no location for this path", status=404, reason="destination_not_found", close=False)


def _rules(like: LocationPlan, service: Service, filters: tuple[Filter, ...]) -> LocationPlan:
    """A location without backends, for answers before a location is known. like: another one, to share its parts with, because there are as
    many of these as services."""
    made = LocationPlan.__new__(LocationPlan)
    for name in LocationPlan.__slots__:
        setattr(made, name, getattr(like, name))
    made.inherit(None, service)
    made.take(filters)
    if made.on_request:
        made.on_request = (*made.on_request, _nothing_here)
    return made


class ServicePlan:
    """One service, compiled.

    fallback: `rules` if they may answer for paths without a location; None: such a path is answered with 404.
    log: like a location's, for requests without a location.
    """

    __slots__ = ("name", "prefixes", "locations", "fallback", "_rules", "_made_of", "refuse_encoded_slashes", "access_log", "log")

    def __init__(self, service: Service, view: SeatView, kinds: Kinds, old: ServicePlan | None, now: float) -> None:
        """now: monotonic time."""
        self.name = service.name
        before: dict[str, LocationPlan] = {}
        if old is not None:
            before = {location.path: location for location in old.locations}
        self.locations: tuple[LocationPlan, ...] = tuple(
            LocationPlan(
                location, service, view, kinds.filters(service, location, location.filters, view), before.get(location.path), now
            )
            for location in service.locations
        )
        self.prefixes: Prefixes[LocationPlan] = Prefixes([(location._prefix, location) for location in self.locations])
        self._rules: LocationPlan | None = None
        self._made_of = service, view, kinds
        self.fallback: LocationPlan | None = None
        if kinds.may_answer(service) and self.rules.on_request:
            self.fallback = self.rules
        self.refuse_encoded_slashes = service.encoded_slashes == "refuse"
        self.access_log = service.access_log
        self.log: Any = None

    @property
    def rules(self) -> LocationPlan:
        """A location without backends that has the service's filters, for answers before a location is known. It is made at its first use,
        because few of many services use it."""
        if self._rules is None:
            service, view, kinds = self._made_of
            self._rules = _rules(kinds.bare, service, kinds.filters(service, None, service.filters, view))
        return self._rules


class Plan:
    """One whole configuration, compiled. Immutable, except for the state of its balancers; `updated` makes the next one.

    generation, snapshot: what it was compiled from. services: by name. router: listener address and host → `ServicePlan`.
    backends: by id. rules: a location without backends that has the top's filters, for answers before a service is known.
    trust: the trusted proxies. unrouted: offset of the location row for requests that match no location.
    """

    __slots__ = (
        "generation",
        "snapshot",
        "services",
        "router",
        "backends",
        "rules",
        "trust",
        "timeouts",
        "limits",
        "unrouted",
        "_clock",
        "_kinds",
        "_view",
    )

    def __init__(
        self,
        snapshot: Snapshot,
        view: SeatView,
        services: dict[str, ServicePlan],
        router: Router[ServicePlan],
        backends: dict[str, Backend],
        kinds: Kinds,
        clock: Callable[[], float],
    ) -> None:
        self.generation = snapshot.generation
        self.snapshot = snapshot
        self.services = services
        self.router = router
        self.backends = backends
        self.trust = Trust(snapshot.trusted_proxies)
        self.timeouts = snapshot.timeouts
        self.limits = snapshot.limits
        self.unrouted = view.table.unrouted * SeatLocation.CELLS
        nobody = Service("", (), (), (), timeouts=snapshot.timeouts, limits=snapshot.limits)
        self.rules = _rules(kinds.bare, nobody, kinds.filters(None, None, snapshot.filters, view))
        self._kinds = kinds
        self._clock = clock
        self._view = view

    @property
    def counted(self) -> tuple[Counted, ...]:
        """The counters of filters, with their cells."""
        return self._kinds.counted

    def updated(self, change: Change) -> Plan:
        """The plan after a change. Rebuilds only the changed parts, and lets other greenlets run meanwhile."""
        view = self._view
        services, backends = dict(self.services), dict(self.backends)
        old = {service.name: service for service in self.snapshot.services}
        gone = [old[name] for name in (*change.removed, *change.changed)]
        for service in gone:
            for backend in _backends(service):
                backends.pop(backend.id, None)
        for name in change.removed:
            del services[name]
        for count, service in enumerate(change.services):
            backends.update((backend.id, backend) for backend in _backends(service))
            _clear_if_leased_anew(service, view)
            services[service.name] = ServicePlan(service, view, self._kinds, services.get(service.name), self._clock())
            if count % _TURN == _TURN - 1:
                yield_to_loop()
        router = self.router.updated(
            _names(gone), ((address, host, services[name]) for name, address, host in _entries(change.services))
        )
        return Plan(patch(self.snapshot, change), view, services, router, backends, self._kinds, self._clock)


def compile_plan(
    snapshot: Snapshot, view: SeatView, clock: Callable[[], float] = monotonic, kinds: Sequence[type[Filter]] = KINDS
) -> Plan:
    """Compile a Snapshot whose slots are leased. Used at the start; a reload uses `Plan.updated`. clock: monotonic seconds."""
    known = Kinds(kinds, view)
    services = {service.name: ServicePlan(service, view, known, None, clock()) for service in snapshot.services}
    backends = {backend.id: backend for service in snapshot.services for backend in _backends(service)}
    for service in snapshot.services:
        _clear_if_leased_anew(service, view)
    router = Router.build((address, host, services[name]) for name, address, host in _entries(snapshot.services))
    return Plan(snapshot, view, services, router, backends, known, clock)


def _backends(service: Service) -> Iterable[Backend]:
    return (backend for location in service.locations for backend in location.backends)


def _entries(services: Iterable[Service]) -> Iterable[tuple[str, str, str]]:
    """(service name, listener address, host) for every name of every service."""
    return ((service.name, address, host) for service in services for address in service.listeners for host in service.hosts)


def _names(services: Iterable[Service]) -> Iterable[tuple[str, str]]:
    return ((address, host) for _, address, host in _entries(services))


def _clear_if_leased_anew(service: Service, view: SeatView) -> None:
    """Zero this process's counters of slots that belonged to another id before (`terraster.state.leases`)."""
    q, table = view.q, view.table
    for location in service.locations:
        serial = q[table.location(location.slot) + LocationCells.LEASE]
        if view.location_leases.get(location.slot) != serial:
            view.location_leases[location.slot] = serial
            table.forget_location(view.seat, location.slot)
        for backend in location.backends:
            serial = q[table.backend(backend.slot) + BackendCells.LEASE]
            if view.backend_leases.get(backend.slot) != serial:
                view.backend_leases[backend.slot] = serial
                table.forget_backend(view.seat, backend.slot)
