"""The Plan: a Snapshot compiled for requests, so that no request looks into a configuration.

The master compiles it first, and never sends a Snapshot that cannot be compiled. Its children inherit the plan through the fork, and
rebuild only the parts that a reload changed. A Plan holds values, balancers and offsets into the shared table. Sockets, logs and the
like of one process are elsewhere, under stable ids, so that they outlive the plan.

No object here refers back to its owner. So a replaced plan is freed at once, without the garbage collector. A pass of the collector over 10,000
services would delay every open request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any

from .config.called import served
from .config.diff import Change, patch
from .config.settings.kinds import CALLED
from .config.snapshot import Backend, Filters, Http2Limits, Listener, Location, Plugin, Service, Snapshot
from .errors import BadRequest
from .exchange import Exchange
from .filters.answer import Answer
from .filters.contract import Counted, Filter, Place, cells, counted, defined
from .filters.registry import KINDS
from .filters.runtime import Runtime
from .location_plan import LocationPlan
from .net.connection import Connection
from .net.yielding import yield_to_loop
from .policy.forwarded import Trust
from .policy.predicates import Predicate
from .route.forked_spellings import ForkedSpellings
from .route.forks import Candidate, Forks, has_forks
from .route.prefix import Prefixes
from .route.router import Router
from .route.spellings import Spellings
from .state.cells import BackendCells, LocationCells, SeatLocation
from .state.view import SeatView

__all__ = ["Plan", "ServicePlan", "compile_plan"]

_PLAIN: frozenset[bytes] = frozenset()

_ALWAYS = (None,)
"""The entries of a kind without keys."""

_TURN = 50
"""Services compiled between two turns of the event loop: about 2 ms."""


class Kinds:
    """The kinds of filters, and the cells of their counters. Makes the filters of a location, a service or the top.

    cells, counted: of their counters. bare: a location without backends and filters. runtime: of all filters.
    """

    __slots__ = ("_asked", "_guarding", "_hooks", "bare", "cells", "counted", "kinds", "runtime")

    def __init__(self, kinds: Sequence[type[Filter]], view: SeatView) -> None:
        self.kinds = tuple(kinds)
        self.runtime = Runtime()
        self.cells = cells(kinds)
        self.counted = counted(kinds)
        self._hooks = tuple((kind, defined(kind)) for kind in kinds)
        self._guarding = frozenset(kind.name for kind in kinds if kind.guards)
        self._asked = frozenset(kind.name for kind in kinds if "on_request" in defined(kind))
        self.bare = LocationPlan(Location("*", "/", slot=view.table.unrouted), Service("", (), (), ()), view, (), None, 0.0)

    def filters(self, service: Service | None, location: Location | None, written: Filters, view: SeatView) -> tuple[Filter, ...]:
        """The filters of a location. location None: those of the service's rules; service None as well: those of the top. Raises
        `ConfigError`."""
        made = []
        entries: dict[str, list[Any]] = {}
        for name, entry in written:
            entries.setdefault(name, []).append(entry)
        for kind, hooks in self._hooks:
            for settings in _ALWAYS if kind.settings is None else entries.get(kind.name, ()):
                one = kind(settings, Place(service, location, view, self.cells[kind.name], self.runtime), view)
                if any(map(one.needs, hooks)):
                    made.append(one)
        return tuple(made)

    def of(self, service: Service, location: Location, view: SeatView, made: dict[str, tuple[Filter, ...]]) -> tuple[Filter, ...]:
        """The filters of a location. An arm has the very ones of the location that it is of, so that limits are shared and each request is
        counted once. made: those of locations with arms, by id."""
        if location.arm:
            return made[location.id.rpartition("#")[0]]
        found = self.filters(service, location, location.filters, view)
        if location.split is not None:
            made[location.id] = found
        return found

    def guards(self, service: Service) -> list[Filters] | None:
        """The access filters of each location of a service that requests are for; None if all have the same."""
        guards = [tuple([one for one in location.filters if one[0] in self._guarding]) for location in served(service)]
        return None if all(one == guards[0] for one in guards) else guards

    def forked_spellings(self, service: Service, locations: Sequence[LocationPlan]) -> ForkedSpellings[LocationPlan] | None:
        """As `spellings`, if locations have conditions."""
        guards = self.guards(service)
        return None if guards is None else ForkedSpellings(zip(_candidates(service, locations, True), guards, strict=True))

    def spellings(self, service: Service, locations: Sequence[LocationPlan]) -> Spellings[LocationPlan] | None:
        """The spellings of the paths of a service, if its locations differ in their access filters."""
        guards = self.guards(service)
        if guards is None:
            return None
        paths = (location.path.encode("ascii") for location in served(service))
        return Spellings(zip(paths, locations, guards, strict=True))

    def may_answer(self, service: Service) -> bool:
        """True if a filter of the service may answer requests for paths without a location."""
        if service.http_redirect or any(location.redirect and location.forwards for location in service.locations):
            return True
        return any(name in self._asked for name, _ in service.filters)


def _candidates(service: Service, locations: Sequence[LocationPlan], folds_case: bool) -> list[Candidate[LocationPlan]]:
    """The locations of a service with their conditions. locations: those of `served`, compiled"""
    made = []
    for location, plan in zip(served(service), locations, strict=True):
        match, test = location.match, None
        if match is not None and match.selects:
            test = Predicate(match, preflights=any(name == "cors" for name, _ in location.filters), folds_case=folds_case)
        made.append(Candidate(plan._prefix, match is not None and match.exact, test, plan))
    return made


def _has_encoded_slash(location: Location) -> bool:
    """True if its path has one, so that its requests must have one too."""
    return "%2F" in location.path or "%5C" in location.path


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

    arms: the locations of the arms of splits, by id.
    fallback: `rules` if they may answer for paths without a location; None: such a path is answered with 404.
    log: like a location's, for requests without a location.
    tls: its settings towards clients, None: served in clear. protocols: those that it offers by ALPN. http2: the limits of clients that
    choose h2. prefixes: the locations, unless some have conditions: then see forks. everything: the location if it is the only one and its path
    is ``/``, else None. spellings, forked_spellings: None if all locations have
    the same access filters. is_simple: False if a path does not tell the location by itself.
    """

    __slots__ = (
        "arms",
        "name",
        "http2",
        "protocols",
        "tls",
        "prefixes",
        "everything",
        "locations",
        "fallback",
        "forked_spellings",
        "forks",
        "is_simple",
        "_rules",
        "_made_of",
        "merge_slashes",
        "refuse_encoded_slashes",
        "spellings",
        "access_log",
        "log",
        "tracing",
    )

    def __init__(self, service: Service, view: SeatView, kinds: Kinds, old: ServicePlan | None, now: float) -> None:
        """now: monotonic time."""
        self.name = service.name
        self.tls = service.tls
        self.http2 = service.http2
        self.protocols = _PLAIN if service.tls is None else frozenset(name.encode() for name in service.tls.protocols)
        before: dict[str, LocationPlan] = {}
        if old is not None:
            before = {location.id: location for location in old.locations}
        filters: dict[str, tuple[Filter, ...]] = {}
        self.locations: tuple[LocationPlan, ...] = tuple(
            LocationPlan(location, service, view, kinds.of(service, location, view, filters), before.get(location.id), now)
            for location in service.locations
        )
        self.arms = {location.id: location for location in self.locations if location.arm}
        of_requests = [location for location in self.locations if not (location.arm or location.path.startswith(CALLED))]
        self.forks: Forks[LocationPlan] | None = None
        self.spellings: Spellings[LocationPlan] | None = None
        self.forked_spellings: ForkedSpellings[LocationPlan] | None = None
        if has_forks(service):
            self.prefixes: Prefixes[LocationPlan] = Prefixes(())
            self.forks = Forks(_candidates(service, of_requests, False))
            self.forked_spellings = kinds.forked_spellings(service, of_requests)
        else:
            self.prefixes = Prefixes([(location._prefix, location) for location in of_requests])
            self.spellings = kinds.spellings(service, of_requests)
        self.is_simple = self.forks is None and self.spellings is None
        self.everything = self.locations[0] if self.is_simple and self.locations == (self.prefixes.find(b"/"),) else None
        self._rules: LocationPlan | None = None
        self._made_of = service, view, kinds
        self.fallback: LocationPlan | None = None
        if kinds.may_answer(service) and self.rules.on_request:
            self.fallback = self.rules
        self.merge_slashes = service.merge_slashes
        self.refuse_encoded_slashes = service.encoded_slashes == "refuse" or (
            service.encoded_slashes == "auto"
            and (self.spellings or self.forked_spellings)
            and not any(map(_has_encoded_slash, service.locations))
        )
        self.access_log = service.access_log
        self.tracing = service.tracing
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
    backends: by id. rules: a location without backends that has the top's filters, for answers before a service is known. trust: the trusted
    proxies. header_size, header_count: of `limits`. unrouted: offset of the location row for requests that match no location.
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
        "header_size",
        "header_count",
        "unrouted",
        "_clock",
        "_http2",
        "_kinds",
        "_tls_defaults",
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
        self.timeouts, self.limits = snapshot.timeouts, snapshot.limits
        self.header_size, self.header_count = self.limits.header_size, self.limits.header_count
        self.unrouted = view.table.unrouted * SeatLocation.CELLS
        nobody = Service("", (), (), (), timeouts=snapshot.timeouts, limits=snapshot.limits)
        self.rules = _rules(kinds.bare, nobody, kinds.filters(None, None, snapshot.filters, view))
        self._kinds = kinds
        self._clock = clock
        self._view = view
        self._tls_defaults: dict[str, tuple[ServicePlan | None, ServicePlan | None]] = {}
        self._http2 = {listener.address: listener.http2 for listener in snapshot.listeners if listener.http2 is not None}

    def http2(self, connection: Connection) -> Http2Limits | None:
        """The limits of a connection that may speak HTTP/2, None if it speaks HTTP/1.1. To be asked once the handshake is over.

        Over TLS the client has chosen h2. In clear it may still begin with a request of HTTP/1.1: HTTP/2 begins with its preface (RFC 9113,
        section 3.3). A connection on a listener that a reload removed has the limits of before."""
        if connection.listener.tls:
            return connection.http2
        plan: Plan = connection.listener.last_plan or self
        return plan._http2.get(connection.listener.address)

    def tls_default(self, address: str, named: bool) -> ServicePlan | None:
        """The service of a TLS listener for clients whose server name no service there has, or (named False) that send none.

        The one with `tls.default` comes first, then the one for all hosts. A client without a name also gets the only service, if there
        is only one. None: the handshake fails."""
        if address not in self._tls_defaults:
            here = [service for service in self.snapshot.services if address in service.listeners]
            chosen = [service for service in here if service.tls is not None and service.tls.default]
            chosen += [service for service in here if "*" in service.hosts]
            default = self.services[chosen[0].name] if chosen else None
            self._tls_defaults[address] = default, self.services[here[0].name] if len(here) == 1 else default
        return self._tls_defaults[address][not named]

    @property
    def counted(self) -> tuple[Counted, ...]:
        """The counters of filters, with their cells."""
        return self._kinds.counted

    @property
    def runtime(self) -> Runtime:
        """The runtime of filters, those of later plans included."""
        return self._kinds.runtime

    def updated(self, change: Change) -> Plan:
        """The plan after a change. Rebuilds only the changed parts, and lets other greenlets run meanwhile."""
        view = self._view
        services, backends = dict(self.services), dict(self.backends)
        old = {service.name: service for service in self.snapshot.services}
        gone = [old[name] for name in (*change.removed, *change.changed)]
        for service in gone:
            for backend in _backends(service):
                backends.pop(backend.id, None)
        _clear_others_leased_anew((*change.listeners_added, *change.base.plugins), view)
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
    _clear_others_leased_anew((*snapshot.listeners, *snapshot.plugins), view)
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
        _clear_location_if_leased_anew(location.slot, view)
        for backend in location.backends:
            serial = q[table.backend(backend.slot) + BackendCells.LEASE]
            if view.backend_leases.get(backend.slot) != serial:
                view.backend_leases[backend.slot] = serial
                table.forget_backend(view.seat, backend.slot)


def _clear_others_leased_anew(owners: Iterable[Listener | Plugin], view: SeatView) -> None:
    for one in owners:
        if one.slot >= 0:
            _clear_location_if_leased_anew(one.slot, view)


def _clear_location_if_leased_anew(slot: int, view: SeatView) -> None:
    serial = view.q[view.table.location(slot) + LocationCells.LEASE]
    if view.location_leases.get(slot) != serial:
        view.location_leases[slot] = serial
        view.table.forget_location(view.seat, slot)
