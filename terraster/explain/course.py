"""The course of a request: listener, service, location, each filter with its decision, the backends, and what one of them would be sent.

Each step calls the code of traffic: the reader of heads, `locate`, the hooks of the filters, the balancer, `upstream_head`. Only what these
need around them is made here: a connection without a socket, and means of filters that neither wait nor ask (`terraster.explain.means`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from terraster.config.addresses import is_address
from terraster.config.filter_sources import fill
from terraster.config.settings.kinds import Source
from terraster.config.snapshot import Listener, Service, Snapshot
from terraster.errors import BadRequest, HttpError, StartError
from terraster.exchange import Exchange
from terraster.filters.contract import Filter
from terraster.filters.plugin import Plugin
from terraster.location_plan import LocationPlan
from terraster.phases.locate import locate
from terraster.phases.upstream_head import upstream_head
from terraster.plan import Plan, ServicePlan, compile_plan
from terraster.proxy import LAST_HOP
from terraster.route.host import split_host
from terraster.state.cells import BackendCells
from terraster.state.leases import Leases, capacities
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.http1 import RequestHead, parse_request

from .candidates import Candidate, candidates, manner
from .means import Untold, equip
from .near import hosts, locations
from .question import Question

__all__ = ["Course", "Decision", "courses", "prepared"]

_ID = b"(request-id)"
_NO_CHANGES: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision of one filter. kind: its key under `middleware`, of a plugin its name. text: in words. final: True if no
    filter behind it is asked."""

    kind: str
    text: str
    final: bool = False


@dataclass(slots=True)
class Course:
    """The course of a request at one listener.

    status:     of the answer that Terraster gives itself; 0: a backend answers
    reason:     why, if it is an error
    service:    its name. location: its label. "" = none
    host:       the rule by which the service was found: a name, "*.example.com", "~…" or "*"
    near:       in words: what else nearly took the request
    open:       in words: what only traffic can tell
    decisions:  of the filters that are asked, in their order
    algorithm:  by which a backend is picked, "" if none is asked. manner: how, in words
    candidates: the backends; () if none is asked
    head:       what the picked backend would be sent, as HTTP/1.1; b"" if none is asked
    """

    listener: str
    status: int = 0
    reason: str = ""
    service: str = ""
    host: str = ""
    location: str = ""
    algorithm: str = ""
    manner: str = ""
    near: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    head: bytes = b""


def prepared(snapshot: Snapshot) -> Plan:
    """The plan of a configuration, compiled for explanations: with a table of its own, and as if all backends were up. Files of filters are
    read, and nothing is fetched. Raises `ConfigError` or StartError."""
    locations = [location for service in snapshot.services for location in service.locations]
    table = Table(*capacities(sum(len(location.backends) for location in locations), len(locations), 1))
    leased = Leases(table).assign(fill(snapshot, _octets))
    for service in leased.services:
        for location in service.locations:
            for backend in location.backends:
                at = table.backend(backend.slot)
                table.q[at + BackendCells.STATE] = BackendCells.UP
                table.q[at + BackendCells.ADMIT] = BackendCells.ALL
    plan = compile_plan(leased, SeatView(table))
    equip(plan.runtime)
    return plan


def _octets(where: str, source: Source) -> bytes | None:
    if source.fetch is not None:
        return None
    try:
        return Path(source.name).read_bytes()
    except OSError as error:
        raise StartError(f"{where}: {source.name}: {error.strerror}") from error


def courses(
    plan: Plan,
    question: Question,
    listener: str = "",
    now: float = 0.0,
    wall: float = 0.0,
    changes: Mapping[str, Any] = _NO_CHANGES,
) -> list[Course]:
    """The courses of a request. More than one if the port of its URL is that of no listener, so that each could be meant that takes its host.

    plan: from `prepared`, or `terraster.explain.running.living`. listener: an address as configured, "" = the one that the port of the URL
    chooses. now, wall: monotonic time, and seconds since 1970. changes: see `terraster.explain.candidates.candidates`. Raises ValueError in
    words if there is no such listener.
    """
    return [_Walk(plan, question, one, now, wall, changes).course for one in _listeners(plan, question, listener)]


def _listeners(plan: Plan, question: Question, named: str) -> list[Listener]:
    every = plan.snapshot.listeners
    if named:
        found = [one for one in every if named in (one.address, one.address.removeprefix("0.0.0.0"))]
        if not found:
            raise ValueError(f"no listener {named}; there are {', '.join(one.address for one in every)}")
        return found
    found = [one for one in every if _port(one) == question.port]
    if found:
        return found
    fitting = [one for one in every if one.tls == (question.scheme == "https")] or list(every)
    try:
        name = split_host(question.host.encode("utf-8", "surrogateescape"))[0]
    except BadRequest:
        return fitting
    return [one for one in fitting if plan.router.find(one.address, name) is not None] or fitting


def _port(listener: Listener) -> int:
    port = listener.address.rpartition(":")[2]
    return int(port) if port.isdigit() else 0


class _Walk:
    """One course, step by step."""

    def __init__(
        self, plan: Plan, question: Question, listener: Listener, now: float, wall: float, changes: Mapping[str, Any]
    ) -> None:
        self._plan = plan
        self._changes = changes
        self._question = question
        self._listener = listener
        self.course = Course(listener.address)
        try:
            self._go(now, wall)
        except HttpError as error:
            self._answer(error.status, error.detail)

    def _answer(self, status: int, reason: str = "") -> None:
        self.course.status, self.course.reason = status, reason

    def _go(self, now: float, wall: float) -> None:
        plan, question = self._plan, self._question
        limits = plan.limits
        head = parse_request(question.head(), limits.header_size, limits.header_count)
        if head is None:
            raise BadRequest("the head has no end")
        if self._listener.tls != (question.scheme == "https"):
            if self._listener.tls:
                raise BadRequest("plain HTTP on a port for TLS")
            self._answer(0, "the listener speaks no TLS, so there is no handshake")
            return
        connection = self._connection()
        if self._listener.tls and connection.tls is None:
            return
        exchange = Exchange(now, wall, connection.client_ip, connection.peer_ip, connection.scheme, head)
        exchange.client = SimpleNamespace(connection=connection, framed=False, exchange=exchange)
        exchange.plan = plan
        exchange.request_id = _ID
        try:
            location = locate(exchange)
        finally:
            self._tell_place(exchange)
        if self._filters(exchange, location):
            return
        if head.max_forwards:
            self._backends(exchange, head, now)
        else:
            self._answer(LAST_HOP.status, "Max-Forwards is 0, so no backend is asked")

    def _connection(self) -> Any:
        """A connection of the client, without a socket, behind its handshake."""
        plan, question, listener = self._plan, self._question, self._listener
        tls = None
        if listener.tls:
            name = split_host(question.host.encode("utf-8", "surrogateescape"))[0]
            named = not is_address(
                name.decode("ascii").strip("[]")
            )  # clients send no server name for an address (RFC 6066, section 3)
            found = plan.router.find(listener.address, name) if named else None
            service = found or plan.tls_default(listener.address, named)
            if service is None or service.tls is None:
                self._answer(0, "no service has this server name, so the handshake ends with the alert unrecognized_name")
                self.course.near += hosts(plan, listener.address, name.decode("ascii"))
            else:
                tls = service.tls
        acceptor = SimpleNamespace(
            address=listener.address,
            port=_port(listener),
            proxy_protocol=listener.proxy_protocol,
            tls=listener.tls,
            last_plan=None,
            closed=False,
        )
        return SimpleNamespace(
            client_ip=question.client,
            client_port=0,
            peer_ip=question.client,
            scheme=question.scheme,
            listener=acceptor,
            named=None,
            trusted=plan.trust.trusts(question.client),
            tls=tls,
            handshake=None,
            certificate=None,
            session=None,
            routed=None,
            host=b"",
            service=None,
            fields=b"",
            private=None,
        )

    # ----------------------------------------------------------------------------------------------------------------- the place

    def _tell_place(self, exchange: Exchange) -> None:
        """Which service and location, and what else was near."""
        course, plan = self.course, self._plan
        service: ServicePlan | None = exchange.service
        name = split_host(exchange.host)[0] if exchange.host else b""
        if service is None:
            course.near += hosts(plan, course.listener, name.decode("ascii"))
            return
        course.service = service.name
        course.host = plan.router.rule(course.listener, name) or ""
        location: LocationPlan | None = exchange.location if exchange.location is not service.fallback else None
        if location is not None:
            course.location = location.label
        course.near += locations(plan, service, location, exchange)

    # --------------------------------------------------------------------------------------------------------------- the filters

    def _filters(self, exchange: Exchange, location: LocationPlan) -> bool:
        """Ask the filters. True if one of them answers."""
        for hook in location.on_request:
            kind = _kind(hook)
            before = exchange.location
            try:
                answer = hook(exchange)
            except Untold as untold:
                self._decide(kind, f"may answer: {untold}")
                self.course.open.append(f"{kind}: {untold}")
                continue
            except HttpError as error:
                self._decide(kind, f"refuses with {error.status}: {error.detail}", True)
                raise
            if answer is not None:
                to = dict(answer.headers).get(b"Location", b"").decode("latin-1")
                self._decide(kind, f"answers with {answer.status}{f', which leads to {to}' if to else ''}", True)
                self._answer(answer.status)
                return True
            arm = exchange.location.arm if exchange.location is not before else ""
            self._decide(kind, f"chooses the arm {arm}" if arm else "lets it pass")
        return False

    def _decide(self, kind: str, text: str, final: bool = False) -> None:
        if kind:
            self.course.decisions.append(Decision(kind, text, final))

    # -------------------------------------------------------------------------------------------------------------- the backends

    def _backends(self, exchange: Exchange, head: RequestHead, now: float) -> None:
        course = self.course
        location: LocationPlan = exchange.location
        configured = next(one for one in self._service(exchange.service.name).locations if one.id == location.id)
        course.algorithm, course.manner = configured.policy, manner(configured, location, exchange)
        if location.limited and location.queue.is_busy():
            member = None
        else:
            member = location.pick_any(exchange, (), now)
        if member is not None:
            location.balancer.done(member, False, now)
        course.candidates += candidates(location, member, self._changes)
        if member is None and location.limited and location.has_others(()) and location.queue.limits.size:
            waits = f"the request waits in the queue, for {location.queue.limits.timeout:g} s at most"
            self._answer(0, f"all backends are at their limit: {waits}")
            return
        if member is None:
            raise location.nobody()
        exchange.backend = member
        course.head = upstream_head(exchange, member, False)

    def _service(self, name: str) -> Service:
        return next(one for one in self._plan.snapshot.services if one.name == name)


def _kind(hook: Any) -> str:
    """The kind of the filter that a hook belongs to, of a plugin its name; "" if it belongs to none: a path without a location is answered by a
    hook, too."""
    owner = getattr(hook, "__self__", None)
    if isinstance(owner, Plugin):
        return owner.plugin
    return owner.name if isinstance(owner, Filter) else ""
