"""The life of a request, in order. This file is the place to start reading Terraster.

    read head → locate → filters (may answer) → pick a backend → attempt: connect or reuse, send, read head → judge → relay → count and log

One greenlet per client connection runs `Proxy.converse`, except while the connection is parked (`terraster.net.parked`). Each request of the
connection is one call of `Proxy._live`. A request of HTTP/2
has a greenlet of its own, which runs `Proxy._stream`; from `Proxy._serve` on, both take the same way. There is one loop
that tries backends (`Proxy._forward`), one place where errors become answers (`respond.error`), one writer of heads for clients
(`terraster.phases.downstream_head`), and one place where a request is counted and logged (`Proxy._finish`). Phases raise `HttpError`. The
fields of the error, not its class, decide the next step (`terraster.policy.retry.next_step`).

Each phase is a file in `terraster.phases`. `terraster.plan` compiles the configuration beforehand. `terraster.net` has the sockets,
`terraster.wire` the meaning of octets. A request keeps the plan that was current when its head was complete, even if a reload follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .balance.contract import Member
from .errors import HttpError
from .exchange import Exchange
from .filters.answer import Answer
from .filters.contract import kind_of
from .location_plan import LocationPlan
from .logs.trace import trace_of
from .net.connection import Connection
from .net.downstream import Downstream
from .net.http2.request import Request
from .net.http2.session import Session
from .net.parked import Parked, Silence
from .net.reactor import Reactor
from .outcomes import Report
from .phases import call, prove, respond
from .phases.ahead import gather, let_go
from .phases.attempt import Attempt, WatchedAttempt
from .phases.data_plane import DataPlane
from .phases.hedge import HedgedAttempt
from .phases.locate import locate
from .phases.mirrors import Mirrors
from .phases.multiplex import choose, head_of, multiplex
from .phases.pick import first_pick, next_pick, settle_waits
from .phases.plugin_body import PluginBodies
from .phases.receive import read_head, read_proxy_header
from .phases.respond import relay
from .phases.secure import secure
from .phases.subrequest import Subrequests
from .phases.traced import TracedAttempt
from .plan import Plan
from .policy.retry import GIVE_UP, IDEMPOTENT, SAME_FRESH, USE
from .state.cells import BUCKET_OF, FINE, QUICK, STATUS_CELL, SeatLocation, bucket_of
from .state.view import SeatView
from .wire.heads import RequestHead

__all__ = ["LAST_HOP", "Proxy"]

# An attribute of a class costs a look-up, a name of a module does not.
_BYTES_IN = SeatLocation.BYTES_IN
_BYTES_OUT = SeatLocation.BYTES_OUT
_DURATION = SeatLocation.DURATION
_BUCKET = SeatLocation.BUCKET
_GRPC = SeatLocation.GRPC
_USE = USE
_FINE, _QUICK = FINE, QUICK

_HEX = tuple([b"%02x" % number for number in range(256)])

LAST_HOP = Answer(200)
"""The answer to an OPTIONS with Max-Forwards 0, which must not be forwarded: RFC 9110, section 7.6.2."""


class Proxy(DataPlane):
    """The life of every request of one worker."""

    def __init__(
        self,
        reactor: Reactor,
        view: SeatView,
        plan: Plan,
        log: Callable[[Exchange], None],
        defect: Callable[[str], None],
        report: Report,
    ) -> None:
        super().__init__(reactor, view, plan, log, defect, report)
        plan.runtime.bodies = PluginBodies(self)
        plan.runtime.subrequests = Subrequests(self)
        plan.runtime.mirrors = self.mirrors = Mirrors(self)

    def adopt(self, plan: Plan) -> None:
        super().adopt(plan)
        self.mirrors.adopt(plan)

    def converse(self, client: Downstream) -> None:
        """Serve the requests of one connection, one after the other, until it is over, is parked or speaks HTTP/2. Runs in its own greenlet,
        and in another one when a parked connection goes on; raises nothing."""
        connection = client.connection
        silent = multiplexed = False
        try:
            if not connection.parked:
                connection.stream.listen()
                if connection.listener.proxy_protocol:
                    read_proxy_header(self, connection)
                if connection.listener.tls:
                    secure(self, connection)
                if choose(self, connection):
                    multiplex(self, connection, self._stream, self._end_session)
                    multiplexed = True
                    return
            while self._live(client, connection):
                if self.draining or connection.listener.closed:
                    connection.hurry()
        except Silence:
            silent = True
        except HttpError:
            pass  # the client left or was silent between requests: there is nothing to answer
        except Exception:
            self.defect("a connection ended by a defect")
        finally:
            if silent:
                connection.parked = True
                connection.routed = connection.service = None  # they would keep an old plan in memory
                connection.plain.reader = Parked(client, self._resume)
            elif not multiplexed:
                self._end(connection)

    def _resume(self, client: Downstream, error: HttpError | None) -> None:
        """Go on with a parked connection in a greenlet. error: end it, because it was silent for too long or its room is wanted. On the hub."""
        if error is None:
            self.runners.start(self.converse, client)
        else:
            self.runners.start(self._end, client.connection)

    def _end(self, connection: Connection) -> None:
        try:
            connection.close()
        finally:
            self.ended(connection)

    def _end_session(self, session: Session) -> None:
        """End an HTTP/2 connection. Runs in its own greenlet; raises nothing."""
        connection = session.connection
        try:
            session.close()
        except Exception:
            self.defect("a connection ended by a defect")
        finally:
            self._end(connection)

    def _stream(self, client: Request) -> None:
        """Serve one request of an HTTP/2 connection. Runs in its own greenlet; raises nothing."""
        connection = client.connection
        try:
            head = head_of(client)
            if isinstance(head, HttpError):
                self._refuse(client, connection, head)
            else:
                self._serve(client, connection, head)
                if not head.keep_alive or self.crowded:
                    client.session.drain()
        except Exception:
            self.defect("a stream ended by a defect")
        finally:
            client.session.finished(client)

    def _live(self, client: Downstream, connection: Connection) -> bool:
        """Serve one request, from its first octet to its log line. True if the connection can carry another one."""
        try:
            head = read_head(self, connection)
        except HttpError as error:
            return self._refuse(client, connection, error)
        return head is not None and self._serve(client, connection, head)

    def _serve(self, client: Downstream | Request, connection: Connection, head: RequestHead) -> bool:
        """Serve a request whose head is complete. True if the connection can carry another one."""
        exchange = self._begin(client, connection, head)
        keep = False
        try:
            answer = prove.answer(self, exchange) if self.challenges.active else None
            if answer is None:
                location = locate(exchange)
                for hook in location.on_request:
                    answer = hook(exchange)
                    if answer is not None:
                        if answer.status >= 400:
                            self.failures.note(exchange, answer.status, kind_of(hook))
                        break
                if answer is None and not head.max_forwards:
                    answer = LAST_HOP
            if answer is None:
                keep = self._forward(exchange)
            else:
                keep = respond.own(self, exchange, answer)
        except HttpError as error:
            keep = respond.error(self, exchange, error)
        except Exception:
            self.defect("a request ended by a defect")
            keep = respond.error(self, exchange, HttpError("internal error", close=True))
        finally:
            self._finish(exchange)
        return keep

    def _refuse(self, client: Downstream | Request, connection: Connection, error: HttpError) -> bool:
        """Answer a head that could not be read. Nothing in it is used, and the connection ends."""
        exchange = self._begin(client, connection, None)
        exchange.bytes_in = len(connection.held)
        try:
            return respond.error(self, exchange, error)
        finally:
            self._finish(exchange)

    def _begin(self, client: Downstream | Request, connection: Connection, head: RequestHead | None) -> Exchange:
        """The record of a request whose head is complete."""
        clock = self.clock
        now = clock()
        exchange = Exchange(now, now + self.wall, connection.client_ip, connection.peer_ip, connection.scheme, head)
        exchange.client = client
        exchange.connection = connection
        exchange.handshake = connection.handshake
        exchange.plan = self.plan
        self.id_count = count = self.id_count + 1
        if not count & 255:
            self.number()
        exchange.request_id = self.id_start + _HEX[count & 255]
        if connection.session is None:
            plain: Downstream = connection.downstream
            plain.exchange = exchange
        else:
            client.exchange = exchange
            exchange.framed = True
            call.begin(exchange)
        return exchange

    def _forward(self, exchange: Exchange) -> bool:
        """Try backends until one answers, then relay its answer. True if the client's connection can carry another request."""
        self._prepare(exchange)
        if exchange.buffering is not None and exchange.buffering.request and exchange.body is not None:
            gather(self, exchange, exchange.body)
        member = first_pick(self, exchange)
        step = _USE
        while True:
            attempt = self._attempt(exchange, member, step == SAME_FRESH)
            try:
                attempt = attempt.ask()
                step = attempt.judge()
                if step == _USE:
                    keep = relay(self, attempt)
                    attempt.relayed()
                    return keep
                attempt.discard()
            except HttpError as error:
                step = attempt.failed(error)
                if step == GIVE_UP:
                    raise
            finally:
                if not attempt.released:
                    attempt.over()
            member = next_pick(self, exchange, attempt, step)

    def _prepare(self, exchange: Exchange) -> None:
        """Take the part of the request body that has arrived, decide if the request may be sent twice, and begin to watch the client."""
        head: RequestHead = exchange.head
        location = exchange.location
        client: Any = exchange.client
        location.requests += 1
        retry = location.retry
        exchange.idempotent = (
            head.method == b"GET"
            or head.method in IDEMPOTENT
            or (retry.idempotency_key and exchange.field(b"idempotency-key") != b"")
        )
        length = head.content_length
        if (length > 0 or head.chunked) and exchange.body is None:
            inlet = client.inlet
            held = inlet.held
            if 0 < length <= len(held):
                exchange.content = held[:length]
                inlet.held = held[length:]
                exchange.bytes_in += length
                exchange.unread = 0
            elif (
                isinstance(client, Request) and head.chunked and client.arrived(location.body_size)
            ):  # as a short message of gRPC does
                exchange.content = held
                inlet.held = b""
                exchange.bytes_in += len(held)
                exchange.unread = 0
            else:
                again = exchange.idempotent or (exchange.grpc is not None and location.retries_calls)
                room = retry.body_size if again else 0
                exchange.body = client.body(-1 if head.chunked else length, location.body_size, room)
        if exchange.framed:
            client.watch()
        else:
            plain: Downstream = client
            plain.watch()
        total = location.total_timeout
        if exchange.grpc is not None:
            total = call.seconds_for(exchange, total)
        if total:
            self.limit(exchange, total)
        if location.min_rate is not None:
            self.slow_clients.watched[exchange] = location.min_rate

    def _attempt(self, exchange: Exchange, member: Member, fresh: bool) -> Attempt:
        """An attempt at a backend, of the kind that its location needs."""
        location = exchange.location
        if not location.watched:
            return Attempt(self, exchange, member, fresh)
        if location.tracing is not None and trace_of(exchange, location.tracing).sampled:
            return TracedAttempt(self, exchange, member, fresh)
        if location.hedge:
            return HedgedAttempt(self, exchange, member, fresh)
        return WatchedAttempt(self, exchange, member, fresh)

    def _finish(self, exchange: Exchange) -> None:
        """Count and log. Called exactly once for every exchange, whatever its outcome."""
        location = exchange.location
        client: Any = exchange.client
        connection: Connection = exchange.connection
        rules = exchange.rules() if location is None else location
        connection.keepalive = rules.keepalive_timeout
        if exchange.framed:
            client.end()
        else:
            plain: Downstream = client
            plain.end()
        exchange.client = exchange.connection = None
        if exchange.buffering is not None:
            let_go(exchange)
        if self.deadlines:
            self.deadlines.pop(exchange, None)
        if self.slow_clients.watched:
            self.slow_clients.watched.pop(exchange, None)
        if not exchange.status:
            exchange.status = 499
        clock = self.clock
        exchange.duration = duration = clock() - exchange.started
        view = self.view
        q = view.cells
        row = view.locations + (exchange.plan.unrouted if location is None else location.offset)
        if exchange.facts is not None:
            settle_waits(view, exchange)
        cell = STATUS_CELL[exchange.status]
        q[row + cell] += 1
        q[row + _BYTES_IN] += exchange.bytes_in
        q[row + _BYTES_OUT] += exchange.bytes_out
        took = int(duration * 1e9)
        q[row + _DURATION] += took
        cell = BUCKET_OF[took // _FINE] if took < _QUICK else bucket_of(duration)
        q[row + _BUCKET + cell] += 1
        if exchange.grpc is not None:
            q[row + _GRPC + exchange.grpc.end(exchange.status)] += 1
        if location is not None:
            judge: LocationPlan = exchange.admitted or location
            for hook in judge.on_log:
                try:
                    hook(exchange)
                except Exception:
                    self.defect("a hook of on_log failed")
        log = None if location is None else location.log
        if log is None:
            self.log(exchange)
        elif log is not False:
            log(exchange)
        if self.tail is not None:
            self.tail(exchange)
