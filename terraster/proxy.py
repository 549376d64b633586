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
from time import monotonic
from typing import Any

from greenlet import getcurrent

from .balance.contract import Member
from .errors import BACKEND, BadRequest, BadResponse, ClientGone, ConnectionLost, HttpError
from .exchange import Exchange
from .filters.answer import Answer
from .net.downstream import Downstream
from .net.origin import Origin
from .net.pump import Pump
from .net.relay import Buffer, frame, relay_chunked, relay_known, relay_until_close, response_reader
from .net.stream import Reactor
from .net.tunnel import Tunnel
from .net.upstream import Upstream
from .plan import LocationPlan, Plan, ServicePlan
from .policy.retry import IDEMPOTENT, may_retry
from .route.host import split_host
from .route.target import canonical, split_absolute
from .state.table import BUCKETS, STATUS_CELL, SeatBackend, SeatLocation
from .state.view import SeatView
from .wire.answers import error_answer, http_date, write_answer
from .wire.http1 import RequestHead, ResponseHead, parse_request, parse_response
from .wire.names import FORWARDED, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PORT, FORWARDED_PROTO, REQUEST_ID, UPGRADE
from .wire.proxy_protocol import parse as parse_proxy_header

__all__ = ["Proxy"]

RESPONSE_HEAD_SIZE = 65536
RESPONSE_READ = 16384
"""Octets read at first of a response. What lies behind the head is copied once more, so larger reads cost more than they save."""
RESPONSE_FIELDS = 250

# Attributes of a class cost a look-up each, names of a module do not.
_REQUESTS = SeatBackend.REQUESTS
_FAILURES = SeatBackend.FAILURES
_LATENCY = SeatBackend.LATENCY
_RESPONSES = SeatBackend.RESPONSES
_CONNECTS = SeatBackend.CONNECTS
_BYTES_IN = SeatLocation.BYTES_IN
_BYTES_OUT = SeatLocation.BYTES_OUT
_DURATION = SeatLocation.DURATION
_BUCKET = SeatLocation.BUCKET

_NOTHING: frozenset[Any] = frozenset()
_UPGRADE = frozenset((UPGRADE,))
_TRUSTED = frozenset((FORWARDED, FORWARDED_PROTO, FORWARDED_HOST, FORWARDED_PORT))


class Proxy:
    """What all requests of one worker share, and the phases of their life.

    plan: the current one; swapped by a reload. draining: finish what is under way and let no connection be used again.
    log: called with an exchange that is over. defect: called in an ``except`` clause when something that is no `HttpError` was raised.
    """

    def __init__(
        self, reactor: Reactor, view: SeatView, plan: Plan, log: Callable[[Exchange], None], defect: Callable[[str], None]
    ) -> None:
        self.reactor = reactor
        self.view = view
        self.plan = plan
        self.log = log
        self.defect = defect
        self.draining = False
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
        end = monotonic() + timeout if timeout else inf
        while (header := parse_proxy_header(data) if data else None) is None:
            left = end - monotonic()
            if left < 0:
                raise client.timed_out(False)
            more = client.recv(left if timeout else 0)
            if not more:
                raise ClientGone("the client left")
            data += more
        client.held = data[header.size :]
        if header.source_ip:
            client.client_ip = header.source_ip
            client.trusted = self.plan.trust.trusts(header.source_ip)

    # --------------------------------------------------------------------------------------------------------------- a request

    def _live(self, client: Downstream) -> bool:
        """One request, from its first octet to its log line. True if the connection can carry another one."""
        try:
            head = self._read_head(client)
        except HttpError as error:
            return self._refuse(client, error)
        if head is None:
            return False
        now = monotonic()
        exchange = Exchange(now, now + self._wall, client.client_ip, client.peer_ip, client.scheme, head)
        client.generation = self.plan.generation
        self._id_count = count = self._id_count + 1
        exchange.request_id = b"%b%08x" % (self._id_prefix, count)
        keep = False
        try:
            location = self._route(exchange, client, head)
            answer = None
            for filter_ in location.on_request:
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
        end = monotonic() + timeout if timeout else 0.0
        while True:
            left = end - monotonic() if end else 0.0
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
        if head.host and split_host(head.host) != split_host(authority):
            raise BadRequest("the target and Host name different hosts")
        return target or b"/", authority

    def _believe(self, exchange: Exchange, client: Downstream, head: RequestHead) -> None:
        """Take a trusted peer's word for who the client is."""
        chain = None
        for kind, _, value in head.special or ():
            if kind == FORWARDED_FOR:
                chain = value if chain is None else chain + b", " + value
            elif kind == FORWARDED_PROTO and value.lower() in (b"http", b"https"):
                exchange.scheme = value.lower().decode("ascii")
            elif kind == REQUEST_ID and 0 < len(value) <= 128:
                exchange.request_id = value
        if chain is not None:
            exchange.client_ip = self.plan.trust.client_address(client.client_ip, chain)

    # ------------------------------------------------------------------------------------------------------------ to a backend

    def _forward(self, exchange: Exchange, client: Downstream, head: RequestHead, location: LocationPlan) -> bool:
        """Try backends until one answers, then relay its answer. True if the client's connection can carry another request."""
        length = head.content_length
        body = b""
        whole = not head.chunked  # the whole body is here, so the request can be sent a second time
        if length > 0:
            held = client.held
            whole = length <= len(held)
            if whole:
                body = held[:length]
                client.held = held[length:]
                exchange.bytes_in += length
                exchange.unread = 0
        q = self.view.q
        balancer = location.balancer
        tried: tuple[Member, ...] = ()
        failure: HttpError | None = None
        client.tolerant = location.ignore_client_abort
        client.working = getcurrent()
        while True:
            now = monotonic() if tried else exchange.started
            member = balancer.pick(exchange, tried, now)
            if member is None:
                raise failure or self._nobody(location)
            exchange.backend = member
            exchange.tries += 1
            row = self.view.backends + member.offset
            q[row + _REQUESTS] += 1
            failed = False
            begun = over = monotonic()
            try:
                out = self._request_octets(exchange, client, head, location, member)
                if body:
                    out += body
                upstream, response, rest, pump = self._ask(exchange, client, head, location, member, out, whole)
                over = monotonic()
                exchange.upstream_time = took = over - begun
                q[row + _LATENCY] += int(took * 1e9)
                if balancer.measures:
                    balancer.answered(member, took, over)
                q[row + _RESPONSES] += 1
                return self._relay(exchange, client, head, location, upstream, response, rest, pump)
            except HttpError as error:
                if error.blame == BACKEND:
                    failed = True
                    over = monotonic()
                    q[row + _FAILURES] += 1
                begun_answer, replayable = exchange.bytes_out > 0, whole or error.unsent
                if not may_retry(
                    error.retryable, error.unsent, head.method, begun_answer, replayable, exchange.tries, location.tries
                ):
                    raise
                tried = (*tried, member)
                failure = error
            finally:
                balancer.done(member, failed, over)

    def _request_octets(
        self, exchange: Exchange, client: Downstream, head: RequestHead, location: LocationPlan, member: Member
    ) -> bytes:
        """The head to send to a backend."""
        if client.trusted:
            keep = _TRUSTED
            extra = self._fields_from_trusted(exchange, client, head)
        else:
            keep = _NOTHING
            fields = client.fields or self._fields_about(client)
            extra = b"%bX-Forwarded-Host: %b\r\nX-Request-ID: %b\r\n" % (fields, exchange.host, exchange.request_id)
            if not head.minor:
                extra = extra.replace(b"Via: 1.1 ", b"Via: 1.0 ", 1)
        drop = _NOTHING
        edits = location.request_edits
        if edits is not None:
            if location.overrides:  # a rule has the last word on the fields that are ours, too
                extra = _without(extra, location.overrides)
            extra += edits.render(exchange)
            drop = edits.drop
        if head.upgrade is not None:
            extra += b"Connection: Upgrade\r\n"
            keep = keep | _UPGRADE
        path = exchange.path
        if not location.plain and path != b"*":
            path = location.forward_path(path, member)
        if exchange.query or head.target[-1] == 63:  # "?": an empty query is not the same as none
            path = b"%b?%b" % (path, exchange.query)
        if not head.host and b"host" not in drop:  # HTTP/1.0, or only the target named the host: HTTP/1.1 must name it
            extra = b"Host: %b\r\n%b" % (exchange.host or member.backend.authority.encode("ascii"), extra)
        return head.forward(path, keep, drop, extra)

    def _fields_about(self, client: Downstream) -> bytes:
        """The field lines that say who the client is, the same for all requests of a connection."""
        if client.client_ip == "unix":  # there is no address, and none is made up
            client.fields = b"X-Forwarded-Proto: %b\r\nVia: 1.1 terraster\r\n" % client.scheme.encode("ascii")
            return client.fields
        client_ip = client.client_ip.encode("ascii")
        client.fields = (
            b"X-Forwarded-For: %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %d\r\nVia: 1.1 terraster\r\n"
            % (
                client_ip,
                client_ip,
                client.scheme.encode("ascii"),
                client.listener.port,
            )
        )
        return client.fields

    def _fields_from_trusted(self, exchange: Exchange, client: Downstream, head: RequestHead) -> bytes:
        """The same lines where a trusted peer spoke for the client: its word is kept, and the peer is added to the chain."""
        chain = [value for kind, _, value in head.special or () if kind == FORWARDED_FOR]
        if client.client_ip != "unix":
            chain.append(client.client_ip.encode("ascii"))
        said = {kind for kind, _, _ in head.special or ()}
        lines = [b"X-Request-ID: " + exchange.request_id]
        if chain:
            lines.append(b"X-Forwarded-For: " + b", ".join(chain))
        if exchange.client_ip != "unix":
            lines.append(b"X-Real-IP: " + exchange.client_ip.encode("ascii"))
        if FORWARDED_PROTO not in said:
            lines.append(b"X-Forwarded-Proto: " + client.scheme.encode("ascii"))
        if FORWARDED_PORT not in said and client.listener.port:
            lines.append(b"X-Forwarded-Port: %d" % client.listener.port)
        if FORWARDED_HOST not in said:
            lines.append(b"X-Forwarded-Host: " + exchange.host)
        lines.append(b"Via: 1.%d terraster\r\n" % head.minor)
        return b"\r\n".join(lines)

    def _ask(
        self,
        exchange: Exchange,
        client: Downstream,
        head: RequestHead,
        location: LocationPlan,
        member: Member,
        out: bytes,
        whole: bool,
    ) -> tuple[Upstream, ResponseHead, bytes, Pump | None]:
        """Send the request to one backend and read its response head. Returns the connection, the head, the octets behind it, and the
        pump that still carries the request body, if one does.

        A pooled connection that ends before a single octet came back is not the backend's failure: the request goes to a fresh one, once.
        """
        origin = self.origins.get(member.backend.id) or self._origin(member)
        upstream = origin.pool.take(head.method not in IDEMPOTENT)
        while True:
            fresh = upstream is None
            if upstream is None:
                self.view.q[self.view.backends + member.offset + _CONNECTS] += 1
                upstream = origin.connect(location.timeouts.connect)
            pump = None
            data = b""
            try:
                upstream.send(out, location.timeouts.read)
                if not whole:
                    upstream.phase = "read"
                    exchange.unread = -1
                    pump = Pump(client, upstream, head, location.body_size, location.timeouts)
                while True:
                    wait = 0.0 if pump is not None and not pump.ended else location.timeouts.response
                    more = upstream.recv(wait, RESPONSE_READ)
                    if not more:
                        raise ConnectionLost("the backend closed the connection before its response was complete")
                    data = data + more if data else more
                    response = parse_response(data, head.method, RESPONSE_HEAD_SIZE, RESPONSE_FIELDS)
                    while response is not None and response.status < 200 and response.status != 101:
                        if head.minor:
                            exchange.bytes_out += self._send_interim(client, response, location)
                        data = data[response.size :]
                        response = parse_response(data, head.method, RESPONSE_HEAD_SIZE, RESPONSE_FIELDS) if data else None
                    if response is not None:
                        break
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
                    and (error.unsent or (whole and head.method in IDEMPOTENT))
                ):
                    upstream = None
                    continue
                raise

    def _send_interim(self, client: Downstream, response: ResponseHead, location: LocationPlan) -> int:
        head = response.forward(_NOTHING, (), b"")
        client.send(head, location.timeouts.read)
        return len(head)

    def _origin(self, member: Member) -> Origin:
        """A way to a backend that was not used before. A request of an older plan may want what the current one no longer has, or reaches
        otherwise: then it is for that request alone."""
        origin = Origin(self.reactor, member.backend, member.offset)
        if origin.serves(self.plan.backends.get(member.backend.id)):
            self.origins[member.backend.id] = origin
        else:
            origin.close()
        return origin

    def adopt(self, plan: Plan) -> None:
        """Run a new plan from the next request on. Connections to backends that are gone, or reached otherwise now, are closed when idle."""
        self.plan = plan
        for name, origin in list(self.origins.items()):
            if not origin.serves(plan.backends.get(name)):
                origin.close()
                del self.origins[name]

    def _nobody(self, location: LocationPlan) -> HttpError:
        """Why no backend could be picked."""
        if any(member.is_up() for member in location.members):
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
                reader = response_reader()
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
        out = response.forward(_NOTHING, (), extra) + body
        exchange.bytes_out += len(out)
        client.send(out, location.timeouts.read)
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
        exchange.detail = error.detail
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
            error.status, error.reason, error.detail, accept, exchange.request_id, exchange.method, minor, keep, self._date
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
        now = monotonic()
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
        exchange.duration = duration = monotonic() - exchange.started
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


def _without(lines: bytes, names: frozenset[bytes]) -> bytes:
    """Field lines but those of these names (lower case)."""
    return b"".join(line for line in lines.splitlines(keepends=True) if line.partition(b":")[0].lower() not in names)
