"""One location, compiled: all that a request needs of it, with nothing left to look up in a configuration. Part of a `terraster.plan.Plan`."""

from __future__ import annotations

from typing import Any

from .balance.contract import Balancer, Member
from .balance.registry import make
from .config.settings.kinds import CALLED
from .config.snapshot import Location, Service, Statuses, Timeouts
from .config.tracing import Sampling
from .errors import HttpError
from .exchange import Exchange
from .filters.contract import Filter, compile_hooks
from .logs.trace import Propagation
from .net.queue import Queue
from .policy.budget import Budget
from .policy.quantile import Latencies
from .route.location import forward_path, map_back
from .route.rewrite import Rewrites
from .state.cells import LocationCells, SeatLocation
from .state.view import SeatView
from .wire.grpc import APART, to_http
from .wire.names import FORWARDED, FORWARDED_HOST, FORWARDED_PORT, FORWARDED_PROTO, TWIN

__all__ = ["LocationPlan"]

_NOTHING: frozenset[int] = frozenset()
_TWINS = frozenset((TWIN,))
_TRUSTED = frozenset((FORWARDED, FORWARDED_PROTO, FORWARDED_HOST, FORWARDED_PORT))

_SERVER_ERRORS = (500, 599)


class LocationPlan:
    """One location, compiled.

    id:           stable, see `terraster.config.snapshot`
    path, label:  as configured; the label also has what tells it from others of its path
    arm:          the name of the arm that it is, "" = none
    offset:       of its row in a seat (add `SeatView.locations`)
    passthrough:  True if the matched path is forwarded unchanged
    limited:      True if a backend may be full, so that requests wait in `queue`
    lowest_bad_status: the lowest status that may count against a backend (`bad_statuses`) or be retried; the worker reports statuses in
                  `reported` to the master
    retries_calls: True if calls of gRPC may be tried again for their status
    requests:     number of requests in this process
    min_rate:     the least rate of clients, None: any
    hedge:        share of latencies, 0.0 = never
    panic_at:     index of its PANIC cell
    watched:      True if an attempt changes more than the counters: the location has limits, hedging, a circuit, a total timeout, or an
                  algorithm that measures, or is traced
    tracing:      which requests are recorded as spans, None: none
    per_try:      seconds for an attempt until its response head, 0.0 = no separate limit
    response_timeout: seconds to wait for a response head, 0.0 = no limit
    read_timeout, total_timeout, keepalive_timeout: those of `timeouts`, which every request needs
    on_request … on_log: the hooks of its filters (`terraster.filters.contract`)
    keep, keep_trusted: kinds of special fields to forward, from strangers and from trusted peers
    drops_twins:  True if a name with ``_`` is dropped when a rule drops the same name with ``-`` (`terraster.wire.names`)
    log:          takes a finished exchange, for this process's access log; False: there is none. The first request puts it in, before that
                  it is None (`terraster.worker`)
    """

    __slots__ = (
        "arm",
        "id",
        "path",
        "label",
        "offset",
        "members",
        "balancer",
        "timeouts",
        "body_size",
        "min_rate",
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
        "read_timeout",
        "total_timeout",
        "keepalive_timeout",
        "per_try",
        "pool",
        "reported",
        "requests",
        "retries_calls",
        "retry",
        "tracing",
        "watched",
        "lowest_bad_status",
        "passthrough",
        "outlier",
        "panic_at",
        "panic_threshold",
        "_prefix",
        "_rewrite",
        "_rewrites",
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
        self.id, self.path, self.label, self.arm = location.id, location.path, location.label, location.arm
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
        self.retries_calls = any(low >= APART for low, _high in location.retry.on)
        lowest = [low if low < APART else to_http(low - APART) for low, _high in (*self.bad_statuses, *location.retry.on)]
        self.lowest_bad_status = min(lowest, default=1000)
        self.limited = any(member.max_connections for member in self.members)
        self.watched = bool(self.limited or self.hedge or self.breaker is not None or self.balancer.measures or self.timeouts.total)
        self.watched = self.watched or self.tracing is not None
        self.per_try = location.retry.per_try_timeout
        self.response_timeout = self.timeouts.response
        if self.per_try:
            self.response_timeout = min(self.timeouts.response or self.per_try, self.per_try)
        self.queue = Queue(location.queue, view, self.offset, self.limited)
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
        self._rewrites = Rewrites(location.rewrites) if location.rewrites else None
        self.passthrough = not (location.rewrite or location.rewrites) and not any(
            backend.base_path for backend in location.backends
        )

    def inherit(self, location: Location | None, service: Service) -> None:
        """Take the settings of the location, or else of its service."""
        self.timeouts: Timeouts = service.timeouts
        self.body_size = service.limits.body_size
        least = service.limits.min_rate
        self.ignore_client_abort = service.ignore_client_abort
        self.strict_responses = service.strict_responses
        self.drops_twins = service.underscores != "pass"
        self.keep, self.keep_trusted = (_NOTHING, _TRUSTED) if self.drops_twins else (_TWINS, _TRUSTED | _TWINS)
        self.access_log = service.access_log
        self.log: Any = None
        self.tracing: Sampling | None = service.tracing
        if location is not None:
            if location.path.startswith(CALLED):  # its requests are ours, and have no span
                self.tracing = None
            self.timeouts = location.timeouts or self.timeouts
            self.access_log = location.access_log or self.access_log
            least = location.min_rate or least
            if location.body_size is not None:
                self.body_size = location.body_size
            if location.ignore_client_abort is not None:
                self.ignore_client_abort = location.ignore_client_abort
        self.min_rate = least if least.incoming or least.outgoing else None
        self.read_timeout, self.total_timeout = self.timeouts.read, self.timeouts.total
        self.keepalive_timeout = self.timeouts.keepalive

    def take(self, filters: tuple[Filter, ...]) -> None:
        """Compile the hooks of these filters."""
        self.on_request, self.on_upstream, self.on_response, self.on_error, self.on_log = compile_hooks(filters)
        if self.balancer.cookie:
            self.on_response = (*self.on_response, self.balancer.on_response)
        if self.tracing is not None:
            self.on_upstream = (Propagation(self.tracing).on_upstream, *self.on_upstream)

    def forward_path(self, path: bytes, member: Member) -> bytes:
        """The path to ask a backend for, instead of the matched path; behind "?" a query that comes before the client's, if a rule has one.
        Raises `BadRequest` (400) for a path that a rule led above the root."""
        if self._rewrites is not None:
            made = self._rewrites.apply(path)
            if made is not None:
                return member.backend.base_path.encode("ascii") + made
        return forward_path(path, self._prefix, self._rewrite, member.backend.base_path.encode("ascii"))

    def takes(self, exchange: Exchange) -> bool:
        """True if a backend takes new work, or has a session of the client."""
        return self.has_others(()) or self.balancer.keeps(exchange)

    def has_others(self, tried: tuple[Member, ...]) -> bool:
        """True if there are healthy backends that were not tried yet, with or without room."""
        return self.balancer.has_others(tried)

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
