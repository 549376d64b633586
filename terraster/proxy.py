"""The life of a request, top to bottom. Whoever has read this file knows Terraster.

    read head → route → filters (may answer) → pick a backend → connect or reuse → send → read head → relay → count and log, exactly once

One greenlet per client connection runs `Proxy.converse`; each request on it is one call of `Proxy._live`. There is one loop that tries
backends (`Proxy._forward`), one place where errors become answers (`Proxy._fail`), and one place where a request ends (`Proxy._finish`).
Phases raise `HttpError`; the fields of the error, not its class, decide what happens next.

What a request needs to know was compiled beforehand (`terraster.plan`), what it does to sockets stands in `terraster.net`, what octets mean
in `terraster.wire`. A request keeps the plan that was current when its head was complete, whatever is loaded meanwhile.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from math import inf
from typing import Any

from greenlet import getcurrent

from .balance.contract import Member
from .errors import BACKEND, CLIENT, US, BadRequest, BadResponse, ClientGone, ConnectionLost, HttpError
from .exchange import Exchange
from .filters.answer import Answer
from .net.downstream import Downstream
from .net.origin import Origin
from .net.pump import Pump
from .net.race import Overtaken, Race
from .net.relay import Buffer, RequestBody, frame, relay_chunked, relay_known, relay_until_close, response_reader
from .net.stream import SHORT, Reactor
from .net.tunnel import Tunnel
from .net.upstream import Upstream
from .onward import request_octets
from .plan import LocationPlan, Plan, ServicePlan
from .policy.retry import IDEMPOTENT, SAFE, covers, may_retry, pause
from .route.host import split_host
from .route.target import canonical, split_absolute
from .state.table import BUCKETS, STATUS_CELL, SeatBackend, SeatLocation
from .state.view import SeatView
from .wire.answers import error_answer, http_date, write_answer
from .wire.http1 import RequestHead, ResponseHead, parse_request, parse_response
from .wire.proxy_protocol import parse as parse_proxy_header
from .witness import Report, Witness

__all__ = ["Proxy"]

RESPONSE_HEAD_SIZE = 65536
RESPONSE_READ = 16384
"""Octets read at first of a response. What lies behind the head is copied once more, so larger reads cost more than they save."""
RESPONSE_FIELDS = 250

# Attributes of a class cost a look-up each, names of a module do not.
_REQUESTS = SeatBackend.REQUESTS
_LATENCY = SeatBackend.LATENCY
_RESPONSES = SeatBackend.RESPONSES
_CONNECTS = SeatBackend.CONNECTS
_BYTES_IN = SeatLocation.BYTES_IN
_BYTES_OUT = SeatLocation.BYTES_OUT
_DURATION = SeatLocation.DURATION
_BUCKET = SeatLocation.BUCKET
_RETRIES = SeatLocation.RETRIES
_BUDGET_REFUSALS = SeatLocation.BUDGET_REFUSALS
_AGAIN = SeatBackend.RETRIES

_BRIEF = 65536
"""Octets up to which a response counts as one when all of it has come. A longer one, and one of unknown length, may last for hours: there
the head is the result that is counted, and told of."""

_REFUSALS = 15
"""Backends without a connection that a request is sent on from, whatever `retry.attempts` says: nothing was sent."""


_NOTHING: frozenset[Any] = frozenset()
_LAST_HOP = Answer(200)


_Asked = tuple[Upstream, ResponseHead, bytes, Pump | None]
"""A connection whose response head has been read, the head, the octets behind it, and what still carries the request body."""
_Hedged = tuple[Member, float, _Asked]
"""Whose answer it is, and when that one was asked."""


class Proxy:
    """What all requests of one worker share, and the phases of their life.

    plan: the current one; swapped by a reload. draining: finish what is under way and let no connection be used again.
    log: called with an exchange that is over. defect: called in an ``except`` clause when something that is no `HttpError` was raised.
    report: tells the master what traffic says of a backend. deadlines: until when an
    exchange must be over, where that is limited.
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
        self._clock = reactor.clock
        self.view = view
        self.plan = plan
        self.log = log
        self.defect = defect
        self.witness = Witness(view, report, reactor.clock)
        self.draining = False
        self.deadlines: dict[Downstream, tuple[float, float, Exchange]] = {}
        self.origins: dict[str, Origin] = {}
        self.buffer = Buffer()
        self._wall = 0.0
        self._date = b""
        self._id_prefix = b""
        self._id_count = 0

    def keep_time(self, now: float, wall: float, id_prefix: bytes) -> None:
        """Called a few times a second: what the requests until the next call take as the offset of the wall clock, the Date and so on."""
        self._wall = wall - now
        self._date = b"Date: %b\r\n" % http_date(wall)
        self._id_prefix = id_prefix

    def sweep(self, now: float) -> None:
        """Called a few times a second, on the hub: end what took too long, and go by the master's word again where it must have come."""
        self.overdue(now)
        self.witness.sweep(now)
        for origin in self.origins.values():
            origin.pool.expire(now)

    def next_deadline(self) -> float:
        """When the first of the exchanges that are limited must be over."""
        return min((deadline for deadline, _, _ in self.deadlines.values()), default=inf)

    def overdue(self, now: float) -> None:
        """End the exchanges that took too long. On the hub."""
        for client, (deadline, asked, exchange) in list(self.deadlines.items()):
            if now < deadline:
                continue
            self.deadlines.pop(client, None)
            working, client.working = client.working, None
            if working is not None:
                # a backend is to blame if it had all of the request, and half of the time: not for a slow client, nor for a queue
                had_its_time = not exchange.status and not exchange.unread and deadline - asked >= asked - exchange.started
                blame = BACKEND if had_its_time else US
                working.throw(HttpError("the exchange took too long", status=504, reason="http_response_timeout", blame=blame))

    # ------------------------------------------------------------------------------------------------------------ a connection

    def converse(self, client: Downstream) -> None:
        """All requests of one connection, one after the other. Runs in a greenlet of its own; raises nothing."""
        try:
            client.listen()
            if client.listener.proxy_protocol:
                self._read_proxy_header(client)
            while self._live(client):
                if self.draining and client.is_quiet():
                    break
        except HttpError:
            pass  # the client left, or stayed silent, outside of a request: nobody to tell
        except Exception:
            self.defect("a connection ended by a defect")
        finally:
            client.close()

    def _read_proxy_header(self, client: Downstream) -> None:
        if not client.trusted:
            raise BadRequest("PROXY header from a peer that is not trusted")
        data = b""
        timeout = self.plan.timeouts.client_header
        end = self._clock() + timeout if timeout else inf
        while (header := parse_proxy_header(data) if data else None) is None:
            left = end - self._clock()
            if left < 0:
                raise client.timed_out(False)
            more = client.recv(left if timeout else 0)
            if not more:
                raise ClientGone("the client left")
            data += more
            client.quick_ack()
        client.held = data[header.size :]
        client.trusted = bool(header.source_ip) and self.plan.trust.trusts(header.source_ip)
        if header.source_ip:
            client.client_ip = header.source_ip

    # --------------------------------------------------------------------------------------------------------------- a request

    def _live(self, client: Downstream) -> bool:
        """One request, from its first octet to its log line. True if the connection can carry another one."""
        try:
            head = self._read_head(client)
        except HttpError as error:
            return self._refuse(client, error)
        if head is None:
            return False
        now = self._clock()
        exchange = Exchange(now, now + self._wall, client.client_ip, client.peer_ip, client.scheme, head)
        client.generation = self.plan.generation
        self._id_count = count = self._id_count + 1
        exchange.request_id = b"%b%08x" % (self._id_prefix, count)
        keep = False
        try:
            location = self._route(exchange, client, head)
            answer = None if head.max_forwards else _LAST_HOP  # 0: an OPTIONS that asks us, not a backend (RFC 9110, section 7.6.2)
            for filter_ in location.on_request if answer is None else ():
                answer = filter_(exchange)
                if answer is not None:
                    break
            if answer is None:
                keep = self._forward(exchange, client, head, location)
            else:
                keep = self._answer(exchange, client, head, answer)
        except HttpError as error:
            keep = self._fail(exchange, client, error)
        except Exception:
            self.defect("a request ended by a defect")
            keep = self._fail(exchange, client, HttpError("internal error", close=True))
        finally:
            client.working = None
            client.generation = 0
            if self.deadlines:
                self.deadlines.pop(client, None)
            self._finish(exchange)
        return keep

    def _read_head(self, client: Downstream) -> RequestHead | None:
        """The next request head; None if there is none: the client ended the connection, or was silent for too long."""
        timeouts, limits = self.plan.timeouts, self.plan.limits
        data = client.held
        if data:
            client.held = b""
        else:
            client.idle = True
            try:
                data = client.recv(timeouts.keepalive if client.requests else timeouts.client_header)
            except HttpError:
                return None
            if not data:
                return None
        client.idle = False
        client.requests += 1
        head = parse_request(data, limits.header_size, limits.header_count)
        if head is None:
            data, head = self._read_rest_of_head(client, data)
            if head is None:
                return None
        if len(data) > head.size:
            client.held = data[head.size :]
        return head

    def _read_rest_of_head(self, client: Downstream, data: bytes) -> tuple[bytes, RequestHead | None]:
        """A head that did not come at once. `client_header` bounds it as a whole, not between octets: one octet a second is an attack."""
        timeout, limits = self.plan.timeouts.client_header, self.plan.limits
        end = self._clock() + timeout if timeout else 0.0
        client.quick_ack()
        while True:
            left = end - self._clock() if end else 0.0
            if left < 0:
                raise client.timed_out(False)
            more = client.recv(left)
            if not more:
                return data, None
            seen = len(data)
            data += more
            head = parse_request(data, limits.header_size, limits.header_count, seen)
            if head is not None:
                return data, head

    # -------------------------------------------------------------------------------------------------------------- where it goes

    def _route(self, exchange: Exchange, client: Downstream, head: RequestHead) -> LocationPlan:
        """Listener, Host and path → location. Raises `BadRequest` (400, 404, 421, 501)."""
        plan = self.plan
        target = head.target
        host = head.host
        if head.method == b"CONNECT":
            raise BadRequest("CONNECT is not served here", status=501)
        if not head.max_forwards and head.method == b"TRACE":
            raise BadRequest("TRACE is not answered here", status=501)
        if target[0] != 47:  # "/"
            target, host = self._unusual_target(head)
        exchange.host = host
        service: ServicePlan | None
        if client.routed is plan and client.host == host:  # a kept connection asks for one host again and again
            service = client.service
        else:
            service = plan.router.find(client.listener.address, split_host(host)[0] if host else b"")
            if service is None:
                raise BadRequest("no service of this name here", status=421, reason="destination_not_found")
            client.routed, client.host, client.service = plan, host, service
        exchange.service = service
        if target == b"*":
            exchange.path = target
            location: LocationPlan | None = service.prefixes.find(b"/")
        else:
            exchange.path, exchange.query = canonical(target, service.refuse_encoded_slashes)
            location = service.prefixes.find(exchange.path)
        if location is None:
            location = service.elsewhere
        if location is None:
            raise BadRequest("no location for this path", status=404, reason="destination_not_found", close=False)
        exchange.location = location
        if client.trusted:
            self._believe(exchange, client, head)
        limit = location.body_size
        if limit and head.content_length > limit:
            raise BadRequest("body larger than the limit", status=413)
        return location

    def _unusual_target(self, head: RequestHead) -> tuple[bytes, bytes]:
        """The target and host of a request whose target is not a path: RFC 9112, sections 3.2.2 to 3.2.4."""
        if head.target == b"*":
            if head.method != b"OPTIONS":
                raise BadRequest("asterisk target with a method other than OPTIONS")
            return head.target, head.host
        authority, target = split_absolute(head.target)
        if head.host:
            split_host(head.host)  # the target's authority replaces it, but it must be a host
        return target, authority

    def _believe(self, exchange: Exchange, client: Downstream, head: RequestHead) -> None:
        """Take a trusted peer's word for who the client is."""
        exchange.said = said = self.plan.trust.believe(client.client_ip, client.scheme, head.special or ())
        exchange.client_ip, exchange.scheme = said.client_ip, said.scheme
        if said.request_id is not None:
            exchange.request_id = said.request_id

    # ------------------------------------------------------------------------------------------------------------ to a backend

    def _forward(self, exchange: Exchange, client: Downstream, head: RequestHead, location: LocationPlan) -> bool:
        """Try backends until one answers, then relay its answer. True if the client's connection can carry another request."""
        length = head.content_length
        body = b""
        whole = not head.chunked
        if length > 0:
            held = client.held
            whole = length <= len(held)
            if whole:
                body = held[:length]
                client.held = held[length:]
                exchange.bytes_in += length
                exchange.unread = 0
        retry = location.retry
        idempotent = head.method in IDEMPOTENT or (retry.idempotency_key and exchange.field(b"idempotency-key") != b"")
        coming = None  # what of the body is not here yet
        if not whole:
            drop = (
                location.request_drop | head.names() if head.chunked else _NOTHING
            )  # a trailer must not overlay a field of the head
            coming = RequestBody(-1 if head.chunked else length, location.body_size, retry.body_size if idempotent else 0, drop)
        q = self.view.q
        balancer = location.balancer
        special = location.special
        location.requests += 1
        tried: tuple[Member, ...] = ()
        answered: tuple[Member, ...] = ()  # of these, those whose answer was not used
        failure: HttpError | None = None
        client.tolerant = location.ignore_client_abort
        client.working = getcurrent()
        if special and location.timeouts.total:
            self.deadlines[client] = exchange.started + location.timeouts.total, inf, exchange
            if location.timeouts.total < SHORT:
                self.reactor.watch(self, exchange.started + location.timeouts.total)
        member = None
        if not (special and location.limited and location.line.is_busy()):
            member = balancer.pick(exchange, tried, exchange.started)
        while True:
            if member is None:
                location, member = self._pick_again(exchange, location, tried, answered, failure)
                balancer, special = location.balancer, location.special
            following: Member | None = None
            exchange.backend = member
            exchange.tries += 1
            row = self.view.backends + member.offset
            q[row + _REQUESTS] += 1
            if tried:
                q[row + _AGAIN] += 1
                q[self.view.locations + location.offset + _RETRIES] += 1
            failed = bad = brief = trial = False
            breaker = None
            first = begun = over = self._clock()
            if special:
                breaker = location.breaker
                trial = breaker is not None and member.on_trial()
                if location.timeouts.total:
                    self.deadlines[client] = exchange.started + location.timeouts.total, begun, exchange
            try:
                out = request_octets(exchange, client, head, location, member)
                if body:
                    out += body
                if special and location.hedge and head.method in SAFE and coming is None and not (tried or trial or head.upgrade):
                    member, begun, answer = self._ask_twice(exchange, client, head, location, member, begun, body, out)
                    row = self.view.backends + member.offset
                    upstream, response, rest, pump = answer
                else:
                    upstream, response, rest, pump = self._ask(exchange, client, head, location, member, out, coming, idempotent)
                over = self._clock()
                exchange.upstream_time = took = over - begun
                q[row + _LATENCY] += int(took * 1e9)
                brief = 0 <= response.content_length <= _BRIEF
                if not brief:
                    q[row + _RESPONSES] += 1
                if special:
                    if balancer.measures:
                        balancer.answered(member, took, over)
                    if location.hedge:
                        location.latencies.add(over - first)  # of an overtaken one it is only known that it took longer than that
                if response.status >= location.suspicious:
                    if brief:
                        brief = False
                        q[row + _RESPONSES] += 1
                    failed = bad = self.witness.is_bad(location, member, response.status, trial)
                    following = self._another(exchange, location, response, idempotent, coming, (*tried, member))
                if following is None:
                    if breaker is not None and not brief:
                        self.witness.went_well(breaker, member, response.status, trial)
                    keep = self._relay(exchange, client, head, location, upstream, response, rest, pump)
                    if brief:
                        q[row + _RESPONSES] += 1
                        if breaker is not None:
                            self.witness.went_well(breaker, member, response.status, trial)
                    return keep
                self._discard(exchange, response, rest, upstream, pump)
                tried, answered = (*tried, member), (*answered, member)
                exchange.detail = f"{_and(exchange.detail)}{member.backend.label}: status {response.status}"
            except HttpError as error:
                if error.blame == BACKEND:
                    failed = True
                    over = self._clock()
                    self.witness.failed(location, member, error, bool(exchange.status) and not (brief or bad), trial)
                elsewhere = error.unconnected and retry.attempts > 1 and len(tried) < min(len(location.members) - 1, _REFUSALS)
                again = error.blame != CLIENT and may_retry(
                    error.retryable,
                    error.unsent,
                    idempotent,
                    exchange.bytes_out > 0,
                    coming is None or coming.whole,
                    0 if elsewhere else exchange.tries,
                    retry.attempts,
                )
                if not (again and (error.unconnected or self._afford(location))):
                    raise
                tried = (*tried, member)
                failure = error
                exchange.status = 0
                exchange.detail = f"{_and(exchange.detail)}{member.backend.label}: {error.detail}"
            finally:
                balancer.done(member, failed, over if over > first else self._clock())
                if special and location.limited:
                    location.line.stir()
            if following is None and (wait := pause(retry.backoff, exchange.tries, False)):
                self.reactor.sleep(wait)
            member = following or balancer.pick(exchange, tried, self._clock())

    def _pick_again(
        self,
        exchange: Exchange,
        location: LocationPlan,
        tried: tuple[Member, ...],
        answered: tuple[Member, ...],
        failure: HttpError | None,
    ) -> tuple[LocationPlan, Member]:
        """A backend where none was to be had at first sight: one that starts slowly, or the first that gets room, or, where no other is
        left, one that failed already, but none that ``answered``: it may have said when to come again. Raises `HttpError` if there is
        none. Whoever waits goes by the newest plan: the location that it returns has the same id."""
        if not (location.limited and location.line.is_busy()) and (found := self._pick_any(exchange, location, tried)) is not None:
            return location, found
        if location.limited and _might_have_room(location, tried):
            return location.line.wait(lambda: self._look(exchange, location, tried), self.reactor)
        if failure is None or failure.reason == "connection_limit_reached":  # of the latter one wait is enough
            raise failure or self._nobody(location)
        self.reactor.sleep(pause(location.retry.backoff, exchange.tries, True))
        member = location.balancer.pick(exchange, answered, self._clock())
        if member is None:
            raise failure
        return location, member

    def _look(self, exchange: Exchange, location: LocationPlan, tried: tuple[Member, ...]) -> tuple[LocationPlan, Member] | None:
        """One look for room, by whoever waits in line. Raises `HttpError` when there is nothing to wait for any more."""
        if exchange.service is not self.plan.services.get(exchange.service.name):
            service = self.plan.services.get(exchange.service.name)
            location = next((one for one in (service.locations if service else ()) if one.path == location.path), location)
        member = self._pick_any(exchange, location, tried)
        if member is not None:
            return location, member
        if not _might_have_room(location, tried):
            raise self._nobody(location)
        return None

    def _pick_any(self, exchange: Exchange, location: LocationPlan, tried: tuple[Member, ...]) -> Member | None:
        """A backend, also one that starts slowly and whose turn it is not."""
        self.view.desperate = True
        try:
            return location.balancer.pick(exchange, tried, self._clock())
        finally:
            self.view.desperate = False

    def _another(
        self,
        exchange: Exchange,
        location: LocationPlan,
        response: ResponseHead,
        idempotent: bool,
        coming: RequestBody | None,
        tried: tuple[Member, ...],
    ) -> Member | None:
        """Another backend to ask, picked, where this answer is one that may be tried again (`retry.on`); None if it goes to the client.

        Never the same backend, so a Retry-After that it sent is honoured; and where there is no other, the client gets to see it.
        """
        retry = location.retry
        if not covers(retry.on, response.status):
            return None
        replayable = coming is None or coming.whole
        if not may_retry(True, False, idempotent, exchange.bytes_out > 0, replayable, exchange.tries, retry.attempts):
            return None
        if not self._afford(location):
            return None
        member = self._pick_any(exchange, location, tried)
        if member is None:
            location.budget.refund()
        return member

    def _discard(self, exchange: Exchange, response: ResponseHead, rest: bytes, upstream: Upstream, pump: Pump | None) -> None:
        """Let go of an answer that is not used. Its connection serves on if the answer is all here."""
        if pump is not None:
            exchange.bytes_in += pump.stop()
        if pump is None and response.keep_alive and 0 <= response.content_length == len(rest):
            upstream.give_back(True)
        else:
            upstream.close()

    def _afford(self, location: LocationPlan) -> bool:
        """Whether the budget has another retry, which is spent then."""
        if location.budget.spend(location.requests, self.plan.snapshot.workers, self._clock()):
            return True
        self.view.q[self.view.locations + location.offset + _BUDGET_REFUSALS] += 1
        return False

    def _ask(
        self,
        exchange: Exchange,
        client: Downstream,
        head: RequestHead,
        location: LocationPlan,
        member: Member,
        out: bytes,
        coming: RequestBody | None,
        idempotent: bool,
        interim: bool = True,
    ) -> _Asked:
        """Send the request to one backend and read its response head. Returns the connection, the head, the octets behind it, and the
        pump that still carries the request body, if one does.

        interim: whether the client is told of interim answers. A pooled connection that ends before a single octet came back is not the
        backend's failure: the request goes to a fresh one, once.
        """
        origin = self.origins.get(member.backend.id) or self._origin(member, location)
        timeouts = location.timeouts
        each, patience = location.per_try, location.patience
        end = self._clock() + each if each else inf
        upstream = origin.pool.take(not idempotent or coming is not None)
        while True:
            fresh = upstream is None
            if upstream is None:
                self.view.q[self.view.backends + member.offset + _CONNECTS] += 1
                upstream = origin.connect(min(timeouts.connect or each, each) if each else timeouts.connect)
            pump = None
            data = b""
            try:
                upstream.send(out, timeouts.read)
                if coming is not None:
                    upstream.phase = "read"
                    exchange.unread = -1
                    pump = Pump(client, upstream, coming, timeouts, patience)
                while True:
                    wait = patience
                    if pump is not None and not pump.ended:  # the client's time, not the backend's
                        wait = 0.0
                    elif each:
                        left = (end if pump is None else pump.ended_at + each) - self._clock()
                        if left <= 0:
                            raise upstream.timed_out(False)
                        wait = min(wait, left)
                    more = upstream.recv(wait, RESPONSE_READ)
                    if not more:
                        raise ConnectionLost("the backend closed the connection before its response was complete")
                    data = data + more if data else more
                    response = parse_response(data, head.method, RESPONSE_HEAD_SIZE, RESPONSE_FIELDS, 0, location.strict_responses)
                    while response is not None and response.status < 200 and response.status != 101:
                        if head.minor and interim:
                            self._send_interim(exchange, client, response, location)
                        data = data[response.size :]
                        response = (
                            parse_response(data, head.method, RESPONSE_HEAD_SIZE, RESPONSE_FIELDS, 0, location.strict_responses)
                            if data
                            else None
                        )
                    if response is not None:
                        break
                    upstream.quick_ack()
                if response.status == 101 and head.upgrade is None:
                    raise BadResponse("the backend switched protocols unasked")
                return upstream, response, data[response.size :], pump
            except BaseException as error:
                if pump is not None:
                    exchange.bytes_in += pump.stop()
                    exchange.unread = 0 if pump.done else -1
                upstream.close()
                if (
                    isinstance(error, ConnectionLost)
                    and not (fresh or data or exchange.bytes_out)
                    and pump is None
                    and (error.unsent or (coming is None and idempotent))
                ):
                    upstream = None
                    continue
                raise

    def _ask_twice(
        self,
        exchange: Exchange,
        client: Downstream,
        head: RequestHead,
        location: LocationPlan,
        member: Member,
        begun: float,
        body: bytes,
        out: bytes,
    ) -> _Hedged:
        """Ask a backend, and, if it takes longer than most, another one as well; the answer that comes first counts. Returns whose it is
        and when that one was asked. Interim answers are kept from the client. (Dean and Barroso, The Tail at Scale, 2013.)"""
        delay = location.latencies.at(location.hedge)
        if delay < 0:
            return member, begun, self._ask(exchange, client, head, location, member, out, None, True)
        race = Race(
            self.reactor,
            delay,
            lambda: self._ask_another(exchange, client, head, location, member, body),
            lambda second: self._give_up(location, second),
        )
        try:
            return member, begun, self._ask(exchange, client, head, location, member, out, None, True, False)
        except Overtaken:
            now = self._clock()
            if location.balancer.measures:
                location.balancer.answered(member, now - begun, now)  # it is at least that slow
            location.balancer.done(member, False, now)
            second = race.won()
            exchange.backend = second[0]
            return second
        finally:
            race.end()

    def _ask_another(
        self, exchange: Exchange, client: Downstream, head: RequestHead, location: LocationPlan, first: Member, body: bytes
    ) -> _Hedged | None:
        """The second attempt of `_ask_twice`, in a greenlet of its own. None if nothing came of it."""
        view = self.view
        if (location.limited and location.line.is_busy()) or not self._afford(location):
            return None
        others = [member for member in location.members if member.on_trial()] if location.breaker is not None else ()
        member = location.balancer.pick(exchange, (first, *others), self._clock())
        if member is None:
            location.budget.refund()
            return None
        failed = False
        asked: _Asked | None = None
        try:
            begun = self._clock()
            exchange.tries += 1
            at = view.locations + location.offset
            view.q[at + SeatLocation.HEDGES] += 1
            view.q[at + _RETRIES] += 1
            row = view.backends + member.offset
            view.q[row + _REQUESTS] += 1
            view.q[row + _AGAIN] += 1
            out = request_octets(exchange, client, head, location, member) + body
            asked = self._ask(exchange, client, head, location, member, out, None, True, False)
            return member, begun, asked
        except HttpError as error:
            failed = error.blame == BACKEND
            if failed:
                self.witness.failed(location, member, error, False, False)
            return None
        except Exception:
            self.defect("a hedged request ended by a defect")
            return None
        finally:
            if asked is None:
                location.balancer.done(member, failed, self._clock())
                if location.limited:
                    location.line.stir()

    def _give_up(self, location: LocationPlan, second: _Hedged) -> None:
        """Nobody wants the answer of a second attempt any more."""
        second[2][0].close()
        location.balancer.done(second[0], False, self._clock())

    def _send_interim(self, exchange: Exchange, client: Downstream, response: ResponseHead, location: LocationPlan) -> None:
        head = response.forward(_NOTHING, (), b"")
        exchange.bytes_out += len(head)
        client.send(head, location.timeouts.read)

    def _origin(self, member: Member, location: LocationPlan) -> Origin:
        """A way to a backend that was not used before. A request of an older plan may want what the current one no longer has, or reaches
        otherwise: then it is for that request alone."""
        origin = Origin(self.reactor, member.backend, member.offset, location.pool, self.view)
        if origin.serves(self.plan.backends.get(member.backend.id)):
            self.origins[member.backend.id] = origin
        else:
            origin.close()
        return origin

    def adopt(self, plan: Plan) -> None:
        """Run a new plan from the next request on. Connections to backends that are gone, or reached otherwise now, are closed when idle;
        for the others the new limits hold."""
        before, self.plan = self.plan.services, plan
        for name, service in plan.services.items():
            if before.get(name) is not service:
                for location in service.locations:
                    for member in location.members:
                        if member.backend.id in self.origins:
                            self.origins[member.backend.id].pool.limit(location.pool)
        for name, origin in list(self.origins.items()):
            if not origin.serves(plan.backends.get(name)):
                origin.close()
                del self.origins[name]

    def _nobody(self, location: LocationPlan) -> HttpError:
        """Why no backend could be picked."""
        if _might_have_room(location, ()):
            return HttpError("all backends are at their limit", status=503, reason="connection_limit_reached")
        return HttpError("no healthy backend", status=503, reason="destination_unavailable")

    # ------------------------------------------------------------------------------------------------------------- to the client

    def _relay(
        self,
        exchange: Exchange,
        client: Downstream,
        head: RequestHead,
        location: LocationPlan,
        upstream: Upstream,
        response: ResponseHead,
        body: bytes,
        pump: Pump | None,
    ) -> bool:
        """Write the response as it comes. True if the client's connection can carry another request."""
        exchange.status = response.status
        reusable = False
        look = response.size + len(body) >= RESPONSE_READ  # the read was full: there may be more behind it
        try:
            if response.upgrade is not None:
                return self._tunnel(exchange, client, location, upstream, response, body, pump)
            keep = head.keep_alive and not self.draining and not client.listener.closed and (pump is None or pump.done)
            chunked = response.chunked or response.until_close
            extra = b"" if response.dated else self._date
            drop = _NOTHING
            if chunked and not response.no_body:
                if not head.minor:  # HTTP/1.0 knows no chunks: the body ends with the connection
                    keep = chunked = False
                    drop = _TRANSFER_ENCODING
                elif response.until_close:
                    extra += b"Transfer-Encoding: chunked\r\n"
            if not keep:
                extra += b"Connection: close\r\n"
            elif not head.minor:
                extra += b"Connection: keep-alive\r\n"
            edits = location.response_edits
            if edits is not None:
                extra += edits.render(exchange)
                drop = drop | edits.drop
            if location.sticky:
                extra += location.balancer.set_cookie(exchange)
            replace = location.map_back(exchange, response.location) if response.location is not None else ()
            out = response.forward(drop, replace, extra)

            read, write = location.timeouts.read, location.timeouts.read
            upstream.phase = "read"
            reusable = response.keep_alive
            if response.no_body or response.content_length == 0:
                exchange.bytes_out += len(out)
                client.send(out, write)
                reusable = reusable and not body
            elif response.content_length > 0:
                length = response.content_length
                left = length - len(body)
                if left > 0 and length <= location.retry.response_size:
                    body, left, look = body + self._rest(upstream, left, read), 0, True
                if left < 0:  # more than it announced: what follows is not part of any response
                    body = body[:length]
                    reusable = False
                exchange.bytes_out += len(out) + len(body)
                client.send(out + body if body else out, write)
                if left > 0:
                    look = True
                    relay_known(exchange, upstream, client, left, read, write, self.buffer)
            elif response.chunked:
                look = True
                reader = response_reader(location.strict_responses)
                ready = out + frame(reader.feed(body), chunked) if body else out
                relay_chunked(exchange, upstream, client, reader, ready, chunked, read, write)
                reusable = reusable and not reader.rest
            else:
                ready = out + frame([body], chunked) if body else out
                relay_until_close(exchange, upstream, client, ready, chunked, read, write)
                reusable = False
            if pump is not None and not pump.done:  # answered before the request was read: the client may still be sending
                keep = reusable = False
                exchange.bytes_in += pump.stop()
                client.linger()
            return keep
        except BaseException:
            reusable = False
            raise
        finally:
            if pump is not None:
                exchange.bytes_in += pump.stop()
                exchange.unread = 0 if pump.done else -1
            if reusable:
                upstream.give_back(look)
            else:
                upstream.close()

    def _rest(self, upstream: Upstream, left: int, read: float) -> bytes:
        """The rest of a short response, before anything of it goes out, so that it can still be tried elsewhere if it breaks off."""
        parts = []
        upstream.quick_ack()
        while left > 0:
            data = upstream.recv(read, left)
            if not data:
                raise ConnectionLost("the backend closed the connection within a response")
            parts.append(data)
            left -= len(data)
        return b"".join(parts)

    def _tunnel(
        self,
        exchange: Exchange,
        client: Downstream,
        location: LocationPlan,
        upstream: Upstream,
        response: ResponseHead,
        body: bytes,
        pump: Pump | None,
    ) -> bool:
        """Answer 101 and join the two connections. Never leaves a connection to be used again."""
        extra = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % (response.upgrade or b"")
        if location.sticky:
            extra += location.balancer.set_cookie(exchange)
        out = response.forward(_NOTHING, (), extra) + body
        exchange.bytes_out += len(out)
        client.send(out, location.timeouts.read)
        self.deadlines.pop(client, None)
        if client.held:
            held, client.held = client.held, b""
            exchange.bytes_in += len(held)
            upstream.send(held, location.timeouts.read)
        tunnel = Tunnel(client, upstream, location.timeouts.tunnel)
        try:
            tunnel.run()
        except HttpError as error:  # however a tunnel ends, the switch had been answered: it stays a 101, and nobody is to blame
            exchange.error, exchange.detail = error.reason, error.detail
        finally:
            exchange.bytes_in += tunnel.octets_in
            exchange.bytes_out += tunnel.octets_out
        return False

    # ----------------------------------------------------------------------------------------------------------- our own answers

    def _answer(self, exchange: Exchange, client: Downstream, head: RequestHead, answer: Answer) -> bool:
        """Write an answer of our own. True if the client's connection can carry another request."""
        keep = head.keep_alive and not self.draining and self._skip_body(exchange, client)
        exchange.status = answer.status
        out = write_answer(answer.status, answer.headers, answer.body, head.method, head.minor, keep, self._date)
        exchange.bytes_out += len(out)
        client.send(out, self.plan.timeouts.read)
        if not keep:
            client.linger()
        return keep

    def _skip_body(self, exchange: Exchange, client: Downstream) -> bool:
        """Pass over a request body that nobody has read. True if all of it is here, so that the next request can be found."""
        unread = exchange.unread
        if not 0 <= unread <= len(client.held):
            return False
        if unread:
            client.held = client.held[unread:]
            exchange.unread = 0
        return True

    def _fail(self, exchange: Exchange, client: Downstream, error: HttpError) -> bool:
        """The one place where errors become answers. True if the client's connection can carry another request."""
        exchange.error = error.reason
        exchange.detail = f"{_and(exchange.detail)}{error.detail}"
        head = exchange.head
        if error.status == 499:
            exchange.status = 499
            return False
        if exchange.bytes_out and (
            exchange.status >= 200 or exchange.status == 101
        ):  # the answer was under way: all that is left is to break it off
            if not head.minor:
                client.reset_on_close()  # HTTP/1.0: a plain end would look like the end of the body
            return False
        exchange.status = error.status
        keep = not error.close and head is not None and head.keep_alive and not self.draining and self._skip_body(exchange, client)
        accept = exchange.field(b"accept")
        minor = 1 if head is None else head.minor
        out = error_answer(
            error.status,
            error.reason,
            error.detail,
            accept,
            exchange.request_id,
            exchange.method,
            minor,
            keep,
            self._date,
            error.retry_after,
        )
        exchange.bytes_out += len(out)
        try:
            client.send(out, self.plan.timeouts.read)
        except HttpError:
            return False
        if not keep:
            client.linger()
        return keep

    def _refuse(self, client: Downstream, error: HttpError) -> bool:
        """Answer a head that could not be read. Nothing of it is believed, and the connection ends."""
        now = self._clock()
        exchange = Exchange(now, now + self._wall, client.client_ip, client.peer_ip, client.scheme, None)
        self._id_count += 1
        exchange.request_id = b"%b%08x" % (self._id_prefix, self._id_count)
        try:
            return self._fail(exchange, client, error)
        finally:
            self._finish(exchange)

    # -------------------------------------------------------------------------------------------------------------- exactly once

    def _finish(self, exchange: Exchange) -> None:
        """Count and log. Exactly once for every exchange, whatever became of it."""
        if not exchange.status:
            exchange.status = 499
        exchange.duration = duration = self._clock() - exchange.started
        q = self.view.q
        location = exchange.location
        row = self.view.locations + (self.plan.unrouted if location is None else location.offset)
        q[row + STATUS_CELL[exchange.status]] += 1
        q[row + _BYTES_IN] += exchange.bytes_in
        q[row + _BYTES_OUT] += exchange.bytes_out
        q[row + _DURATION] += int(duration * 1e9)
        q[row + _BUCKET + bisect_left(BUCKETS, duration)] += 1
        self.log(exchange)


_TRANSFER_ENCODING = frozenset((b"transfer-encoding",))


def _and(detail: str) -> str:
    """What was said already, ready to be gone on with."""
    return f"{detail}; " if detail else ""


def _might_have_room(location: LocationPlan, tried: tuple[Member, ...]) -> bool:
    """Whether there are backends that are well, but have no room."""
    return any(member.is_up() and member.weight and member not in tried for member in location.members)
