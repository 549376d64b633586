"""The course of a request: listener, service, location, each filter with its decision, the backends, and what one of them would be sent.

Each step calls the code of traffic: the reader of heads, `locate`, the hooks of the filters, the balancer, `upstream_head`. Only what these
need around them is made here: a connection without a socket, and means of filters that neither wait nor ask (`terraster.explain.means`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from terraster.balance.contract import Member
from terraster.config.addresses import is_address
from terraster.config.filter_sources import fill
from terraster.config.regular import regular
from terraster.config.settings.kinds import Source
from terraster.config.snapshot import Listener, Location, Service, Snapshot
from terraster.errors import BadRequest, HttpError, StartError
from terraster.exchange import Exchange
from terraster.filters.answer import Answer
from terraster.filters.contract import Filter
from terraster.filters.jwt import KeysUnknown
from terraster.filters.plugin import Plugin
from terraster.filters.redirect import Redirect
from terraster.location_plan import LocationPlan
from terraster.net.connection import Connection
from terraster.net.handshake import Handshake
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
from .near import Near, hosts, locations
from .question import Question

__all__ = ["Course", "Decision", "courses", "prepared"]

_ID = b"(request-id)"
_CIPHER = "(cipher)"
_NO_CHANGES: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision of one filter. kind: its key under `middleware`, of a plugin its name. text: in words. final: True if no
    filter behind it is asked. key: of the rule, if it is not the kind. location: the label of the location that has the rule"""

    kind: str
    text: str
    final: bool = False
    key: str = ""
    location: str = ""


@dataclass(slots=True)
class Course:
    """The course of a request at one listener.

    status:     of the answer that Terraster gives itself; 0: a backend answers
    reason:     why, if it is an error
    service:    its name. location: its label. "" = none
    host:       the rule by which the service was found: a name, "*.example.com", "~…" or "*"
    near:       what else nearly took the request
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
    near: list[Near] = field(default_factory=list)
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
        with open(source.name, "rb", opener=regular) as stream:
            return stream.read()
    except OSError as error:
        raise StartError(f"{where}: {source.name}: {error.strerror}") from error


def courses(
    plan: Plan,
    question: Question,
    listener: str = "",
    now: float = 0.0,
    wall: float = 0.0,
    changes: Mapping[str, Any] = _NO_CHANGES,
    live: bool = False,
) -> list[Course]:
    """The courses of a request. More than one if the port of its URL is that of no listener, so that each could be meant that takes its host.

    plan: from `prepared`, or `terraster.explain.running.living`. listener: an address as configured, "" = the one that the port of the URL
    chooses; a port alone will do. now, wall: monotonic time, and seconds since 1970. changes: see `terraster.explain.candidates.candidates`.
    live: True if it is the plan of what runs. Raises ValueError in words if there is no such listener.
    """
    return [_Walk(plan, question, one, now, wall, changes, live).course for one in _listeners(plan, question, listener)]


def _listeners(plan: Plan, question: Question, named: str) -> list[Listener]:
    every = plan.snapshot.listeners
    if named:
        port = named.removeprefix(":")
        found = [one for one in every if named == one.address or (port.isdecimal() and _port(one) == int(port))]
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
        self, plan: Plan, question: Question, listener: Listener, now: float, wall: float, changes: Mapping[str, Any], live: bool
    ) -> None:
        self._live = live
        self._asked: set[Filter] = set()
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
        exchange.connection = connection
        exchange.handshake = connection.handshake
        exchange.plan = plan
        exchange.request_id = _ID
        self._exchange = exchange
        try:
            location = locate(exchange)
        finally:
            self._tell_place(exchange)
        if self._filters(exchange, location):
            return
        if head.max_forwards:
            self._not_asked(exchange.location)
            self._backends(exchange, head, now)
        else:
            self._answer(LAST_HOP.status, "Max-Forwards is 0, so no backend is asked")

    def _connection(self) -> Connection:
        """A connection of the client, without a socket, behind its handshake."""
        plan, question, listener = self._plan, self._question, self._listener
        tls = handshake = None
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
            elif self._live and not service.tls.certificates:
                self.course.service = service.name
                self._answer(0, "the service has no certificate yet, so the handshake ends with the alert unrecognized_name")
            elif service.tls.client_auth is not None and service.tls.client_auth.mode == "require":
                self.course.service = service.name
                self._answer(0, "the service requires a certificate of the client (`tls.client_auth`), and none can be given here")
            else:
                tls = service.tls
                handshake = Handshake("TLSv1.3", _CIPHER, name.decode("ascii") if named else "", False)
        acceptor = SimpleNamespace(
            address=listener.address,
            port=_port(listener),
            proxy_protocol=listener.proxy_protocol,
            tls=listener.tls,
            last_plan=None,
            closed=False,
        )
        connection = Connection.__new__(Connection)  # without a socket
        connection.client_ip = connection.peer_ip = question.client
        connection.client_port = 0
        connection.scheme = question.scheme
        connection.listener = acceptor
        connection.trusted = plan.trust.trusts(question.client)
        connection.tls, connection.handshake = tls, handshake
        connection.named = connection.certificate = connection.session = connection.private = None
        connection.routed = connection.service = None
        connection.host = connection.fields = b""
        return connection

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
            owner = getattr(hook, "__self__", None)  # a path without a location is answered by a hook that belongs to no filter
            try:
                answer = hook(exchange)
            except Untold as untold:
                self._untold(owner, str(untold))
            except KeysUnknown as error:
                if self._live:
                    self._decide(owner, f"refuses with {error.status}: {error.detail}", True)
                    raise
                self._untold(owner, "its keys are fetched once Terraster runs")
            except HttpError as error:
                more = "" if not isinstance(owner, Filter) else owner.explained(exchange, True)
                self._decide(owner, f"refuses with {error.status}: {error.detail}{f'; {more}' if more else ''}", True)
                raise
            else:
                if answer is not None:
                    self._answers(exchange, owner, answer)
                    return True
                self._decide(owner, (owner.explained(exchange, False) if isinstance(owner, Filter) else "") or "lets it pass")
        return False

    def _untold(self, owner: object, words: str) -> None:
        """The decision of a filter that only traffic knows."""
        self._decide(owner, f"may answer: {words}")
        self.course.open.append(f"{_kind(owner)}: {words}")

    def _answers(self, exchange: Exchange, owner: object, answer: Answer) -> None:
        to = dict(answer.headers).get(b"Location", b"").decode("latin-1")
        text = f"answers with {answer.status}{f', which leads to {to}' if to else ''}"
        if isinstance(owner, Redirect):
            self._decide(owner, text, True, *self._rule_of_redirect(exchange))
        else:
            self._decide(owner, text, True)
        self._answer(answer.status)

    def _rule_of_redirect(self, exchange: Exchange) -> tuple[str, str]:
        """The key that a redirect comes from, and the label of the location that has it."""
        location = exchange.location
        for one in self._service(exchange.service.name).locations:
            if (
                location is not exchange.service.fallback
                and one.id == location.id
                and one.http_redirect
                and exchange.scheme == "http"
            ):
                return "http_redirect", one.label
            if one.redirect.startswith("/") and one.forwards and not one.arm and one.redirect == exchange.path.decode("latin-1"):
                return "redirect", one.label
        return ("http_redirect", "") if location is exchange.service.fallback else ("redirect", location.label)

    def _not_asked(self, location: LocationPlan) -> None:
        """The filters that do not look at the request before a backend is picked."""
        found: dict[Filter, list[str]] = {}
        hooks = ((location.on_upstream, "changes the request to the backend"), (location.on_response, "may change the answer"))
        for several, words in (*hooks, (location.on_error, "may answer an error"), (location.on_log, "")):
            for hook in several:
                owner = getattr(hook, "__self__", None)
                if isinstance(owner, Filter) and owner not in self._asked:
                    found.setdefault(owner, []).append(words)
        for asked, effects in found.items():
            self._decide(asked, asked.explained(self._exchange, False) or " and ".join(filter(None, effects)))

    def _decide(self, owner: object, text: str, final: bool = False, key: str = "", location: str = "") -> None:
        if isinstance(owner, Filter):
            self._asked.add(owner)
            if text:
                self.course.decisions.append(Decision(_kind(owner), text, final, key, location or self.course.location))

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
        self._rewritten(exchange, location, configured, member)
        course.head = upstream_head(exchange, member, False)

    def _rewritten(self, exchange: Exchange, location: LocationPlan, configured: Location, member: Member) -> None:
        """The path that the backend is asked for, if it is another one."""
        if location.passthrough or exchange.path == b"*":
            return
        path = location.forward_path(exchange.path, member)
        if path != exchange.path:
            key = "rewrite" if configured.rewrite or configured.rewrites else "backends"
            text = f"{exchange.path.decode('latin-1')} becomes {path.decode('latin-1')}"
            self.course.decisions.append(Decision("path", text, False, key, configured.label))

    def _service(self, name: str) -> Service:
        return next(one for one in self._plan.snapshot.services if one.name == name)


def _kind(owner: object) -> str:
    """The kind of a filter, of a plugin its name."""
    if isinstance(owner, Plugin):
        return owner.plugin
    return owner.name if isinstance(owner, Filter) else ""
