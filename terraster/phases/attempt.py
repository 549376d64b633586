"""Attempt: one try at one backend, from the connection to the end of its response.

An attempt needs the exchange, but no client of its own: a hedged attempt runs beside another one. `Attempt.over` runs exactly once, in a
``finally`` clause. The balancer, the queue, the circuit and the counters learn of an attempt only there, and in `Attempt.judge` from its
response head.

The module is longer than 400 lines because an attempt has one set of facts for both protocols, which differ only in how a request is sent and
how the head of its response is read.
"""

from __future__ import annotations

from math import inf
from typing import Any

from terraster.balance.contract import Member
from terraster.errors import BACKEND, BadResponse, ConnectionLost, HttpError
from terraster.exchange import Exchange
from terraster.location_plan import LocationPlan
from terraster.net.body import RequestBody, Source, arrived, chunk
from terraster.net.body_sender import BodySender
from terraster.net.http2.backend_request import BackendRequest
from terraster.net.origin import Origin
from terraster.net.upstream import Upstream
from terraster.policy.retry import ELSEWHERE, GIVE_UP, SAME_FRESH, USE, next_step
from terraster.state.cells import BUCKET_OF, CLASS_CELL, FINE, QUICK, SeatBackend, SeatLocation, bucket_of
from terraster.wire.chunked import last_chunk
from terraster.wire.grpc import APART, word_of
from terraster.wire.heads import RequestHead, ResponseHead
from terraster.wire.http1 import MAX_INTERIM, parse_response

from .call import final_verdict, outcome, verdict
from .data_plane import DataPlane
from .downstream_head import send_interim
from .upstream_head import upstream_head

__all__ = ["BAD_STATUS", "FAILED", "GOOD", "OVERTAKEN", "UNDER_WAY", "Attempt", "WatchedAttempt"]

UNDER_WAY, GOOD, BAD_STATUS, FAILED, OVERTAKEN = range(5)
"""Outcomes. UNDER_WAY at the end means that the client left, so nothing is known about the backend."""

RESPONSE_HEAD_SIZE = 65536
RESPONSE_FIELDS = 250
RESPONSE_READ = 16384
"""Octets of the first read of a response. Octets after the head are copied once more, so a larger read costs more than it saves."""


_CALL = 2
"""`Attempt._brief` of a call of gRPC whose status is to come in trailers: it counts as what it was when it has ended."""

_BRIEF = 65536
"""A response of at most this many octets counts as good when all of it has arrived. A longer one, or one of unknown length, may last for
hours; there the head is the result that is counted and reported."""

# An attribute of a class costs a look-up, a name of a module does not.
_REQUESTS = SeatBackend.REQUESTS
_LATENCY = SeatBackend.LATENCY
_BUCKET = SeatBackend.BUCKET
_AGAIN = SeatBackend.RETRIES
_NO_RESPONSE = SeatBackend.NO_RESPONSE
_RETRIES = SeatLocation.RETRIES
_FINE, _QUICK = FINE, QUICK
_HEAD_SIZE, _FIELDS, _READ = RESPONSE_HEAD_SIZE, RESPONSE_FIELDS, RESPONSE_READ
_UNDER_WAY, _GOOD, _BAD_STATUS, _FAILED = UNDER_WAY, GOOD, BAD_STATUS, FAILED
_USE = USE
_NEVER = inf


class Attempt:
    """One try at one backend. `WatchedAttempt` is for locations where an attempt changes more than the counters.

    exchange, location, member: the request, its location, and the member, which is taken
    upstream:  the connection, or the stream of one (HTTP/2); None before and after
    framed:    True if it is a stream, once `ask` has returned
    kept:      True if the connection carried requests before
    heard:     True if only a part of the response head arrived
    response, rest: the response head and the octets after it, once `ask` has returned
    verdict:   the HTTP status by which the backend is judged, once `judge` has returned
    sender:    carries the request body, or None
    outcome:   see above; error: the reason of a failure, or None
    following: the member for the next attempt if the response is not used; it is taken
    paid:      True if the budget has paid for the next attempt
    released:  True if it was over before the client had the response
    reusable:  True if the connection may carry another request; look: True: check first that no octet follows the response
    ended_at:  monotonic time of the response head or of the failure; 0.0 before
    """

    __slots__ = (
        "ended_at",
        "error",
        "exchange",
        "following",
        "framed",
        "kept",
        "location",
        "heard",
        "look",
        "member",
        "outcome",
        "plane",
        "released",
        "response",
        "rest",
        "reusable",
        "row",
        "sender",
        "upstream",
        "verdict",
        "again",
        "paid",
        "_asked_at",
        "_brief",
        "_fresh",
    )

    trial = False
    muted = False

    def __init__(self, plane: DataPlane, exchange: Exchange, member: Member, fresh: bool) -> None:
        """fresh: True: use no kept connection"""
        self.plane = plane
        self.exchange = exchange
        self.member = member
        self.location: LocationPlan = self.exchange.location  # of the field, which has a type in C; the argument has none
        self.upstream: Upstream | BackendRequest | None = None
        self.framed: bool
        self.response: ResponseHead
        self.rest: bytes
        self.verdict: int
        self.sender: BodySender | None = None
        self.outcome = _UNDER_WAY
        self.error: HttpError | None = None
        self.following: Member | None = None
        self._brief: int
        self.again = self.kept = self.heard = self.paid = self.released = self.reusable = self._brief = False
        self.look: bool
        self.ended_at = 0.0
        self._asked_at: float
        self._fresh = fresh
        view = self.plane.view
        q = view.cells
        self.row = view.backends + self.member.offset
        q[self.row + _REQUESTS] += 1
        self.exchange.backend = member
        if self.exchange.grpc is not None:
            exchange.asked = plane.clock()
        self.exchange.tries = tries = self.exchange.tries + 1
        if tries > 1:
            q[self.row + _AGAIN] += 1
            q[view.locations + self.location.offset + _RETRIES] += 1

    # ------------------------------------------------------------------------------------------------------------------- asking

    def ask(self) -> Attempt:
        """Connect or reuse a connection, send the request and read the response head. Returns the attempt that has it. Raises
        `HttpError`."""
        exchange, location, member, plane = self.exchange, self.location, self.member, self.plane
        self.framed = framed = member.http2 and exchange.head.upgrade is None
        out = upstream_head(exchange, member, framed)
        body = exchange.body
        if body is not None and body.octets and not body.whole:
            raise HttpError("the request body cannot be sent again", status=502, close=True)
        origin = plane.origins.get(member.id) or plane.origin(member, location)
        if framed:
            request = self._send_frames(origin, out)
            self._asked_at = plane.clock()
            self._await_head(request)
        else:
            upstream = self._send(origin, out)
            clock = plane.clock
            self._asked_at = clock()
            self._read_head(upstream)
        return self

    def _time_to_connect(self) -> float:
        """Seconds for a connection, 0.0 = no limit."""
        each, wait = self.location.per_try, self.location.timeouts.connect
        return min(wait or each, each) if each else wait

    def _send(self, origin: Origin, out: bytes) -> Upstream:
        """Send the request over HTTP/1.1."""
        exchange = self.exchange
        body = exchange.body
        upstream = None
        if origin.shared:
            origin = origin.for_upgrades()
        elif not self._fresh:
            upstream = origin.pool.take(exchange, body is not None or not exchange.idempotent)
        if upstream is None:
            upstream = origin.connect(exchange, self._time_to_connect())
        self.kept = upstream.since < _NEVER
        self.upstream = upstream
        if body is not None:
            upstream.send(out, self.location.read_timeout)
            self._carry(upstream, body)
            return upstream
        head: RequestHead = exchange.head
        if head.chunked:
            out += chunk(exchange.content) + last_chunk([])
        elif exchange.content:
            out += exchange.content
        stream = upstream.stream
        stream.send(out, self.location.read_timeout)
        return upstream

    def _send_frames(self, origin: Origin, block: bytes) -> BackendRequest:
        """Send the request over HTTP/2. A body that has arrived may find no room there, while the response comes without it."""
        exchange = self.exchange
        body, content, write = exchange.body, exchange.content, self.location.read_timeout
        end = body is None and not content
        request = origin.request(exchange, block, end, self._fresh, self._time_to_connect(), write)
        self.kept = request.since < _NEVER
        self.upstream = request
        if body is not None:
            self._carry(request, body)
        elif len(content) > min(request.window, request.session.codec.window) or request.session.blocked:
            self._carry(request, arrived(content))
        elif content:
            request.write(content, True, write)
        return request

    def _carry(self, upstream: Upstream | BackendRequest, body: RequestBody) -> None:
        """Begin to carry the body."""
        location, exchange = self.location, self.exchange
        upstream.phase = "read"
        exchange.unread = -1
        inlet, runners = exchange.client.inlet, self.plane.runners
        self.sender = BodySender(runners, inlet, upstream, body, location.timeouts, location.response_timeout)

    def _await_head(self, request: BackendRequest) -> None:
        """Wait for the response head of HTTP/2, and pass interim responses on."""
        interims = 0
        head = request.head(self._left(request))
        while head.status < 200:
            interims += 1
            self._pass_on(head, interims)
            head = request.head(self._left(request))
        self.response = head
        self.rest = b""

    def _read_head(self, upstream: Upstream) -> None:
        """Read the response head, and pass interim responses on."""
        method, strict = self.exchange.method, self.location.strict_responses
        wait = self.location.response_timeout if self.sender is None else self._left(upstream)
        data = b""
        interims = 0
        stream = upstream.stream
        while True:
            more = stream.recv(wait, _READ)
            if not more:
                raise ConnectionLost("the backend closed the connection before its response was complete")
            data = data + more if data else more
            response = parse_response(data, method, _HEAD_SIZE, _FIELDS, 0, strict)
            while response is not None and response.status < 200 and response.status != 101:
                interims += 1
                self._pass_on(response, interims)
                data = data[response.size :]
                response = parse_response(data, method, _HEAD_SIZE, _FIELDS, 0, strict) if data else None
            if response is not None:
                break
            self.heard = True
            upstream.quick_ack()
            wait = self._left(upstream)
        if response.status == 101 and self.exchange.head.upgrade is None:
            raise BadResponse("the backend switched protocols unasked")
        if response.status == 101 and self.sender is not None and not self.sender.done:
            raise BadResponse("the backend switched protocols within the request")
        self.response = response
        self.rest = data[response.size :]

    def _left(self, upstream: Upstream | BackendRequest) -> float:
        """Seconds left for the response head, 0.0 = no limit. The time does not run while the request body is under way. Raises
        `TimedOut`."""
        patience = self.location.response_timeout
        sender = self.sender
        if not patience or (sender is not None and not sender.ended):
            return 0.0
        left = (self._asked_at if sender is None else sender.ended_at) + patience - self.plane.clock()
        if left <= 0:
            raise upstream.timed_out(False)
        return left

    def _pass_on(self, response: ResponseHead, count: int) -> None:
        if count > MAX_INTERIM:
            raise BadResponse("the backend sends interim responses without end")
        if self.exchange.head.minor and not self.muted:
            send_interim(self.plane, self.exchange, response)

    # ------------------------------------------------------------------------------------------------------------------ judging

    def judge(self) -> int:
        """Count the response head, and decide the next step: USE it, or ask ELSEWHERE."""
        exchange, location, response = self.exchange, self.location, self.response
        q, row = self.plane.view.cells, self.row
        clock = self.plane.clock
        self.ended_at = now = clock()
        sender = self.sender
        if sender is None:
            took = now - self._asked_at
        else:  # the backend may have answered before the last octet of the request
            took = now - sender.ended_at if sender.ended else 0.0
        exchange.upstream_time = took
        if exchange.grpc is None:
            status = response.status
        elif not (status := verdict(response, self.upstream)):
            self.verdict = response.status
            self._brief = _CALL
            return _USE
        self.verdict = status
        cell = CLASS_CELL[status]
        q[row + cell] += 1
        if status >= location.lowest_bad_status:
            self._timed(took)
            if self.plane.outcomes.is_bad(location, self.member, status, self.trial):
                self.outcome = _BAD_STATUS
            self._pick_following(response, now)
            return ELSEWHERE if self.again or self.following is not None else _USE
        if 0 <= response.content_length <= _BRIEF:
            self._brief = True
        else:
            self._timed(took)
        return _USE

    def _timed(self, took: float) -> None:
        """Count a response head. took: seconds from the request sent to it"""
        q, row, spent = self.plane.view.cells, self.row, int(took * 1e9)
        q[row + _LATENCY] += spent
        cell = BUCKET_OF[spent // _FINE] if spent < _QUICK else bucket_of(took)
        q[row + _BUCKET + cell] += 1

    def _pick_following(self, response: ResponseHead, now: float) -> None:
        """Pick the member for the next attempt, if this response is not used (`retry.on`). A backend that sent Retry-After is not asked
        again. If there is no member to ask, the client gets the response."""
        exchange, location = self.exchange, self.location
        status = response.status if exchange.grpc is None else outcome(response)
        if next_step(exchange, location.retry, status, None, False) != ELSEWHERE or not self.plane.afford(location):
            return
        tried, answered = (*exchange.tried, self.member), exchange.answered
        if _says_when(response):
            answered = (*answered, self.member)
        self.following = location.pick_any(exchange, tried, now)
        self.again = self.following is None and location.has_others(answered)
        if self.again or self.following is not None:
            self.paid = True
            exchange.answered = answered
            exchange.note(f"{self.member.backend.display}: status {status if status < APART else word_of(status)}")
        else:
            location.budget.refund()

    def failed(self, error: HttpError) -> int:
        """End this attempt with an error, and decide the next step: GIVE_UP, SAME_FRESH or ELSEWHERE."""
        exchange, location, member, plane = self.exchange, self.location, self.member, self.plane
        self.error = error
        exchange.faults += error.form
        upstream = self.upstream
        stale = error.ended and upstream is not None and self.kept and not self.heard and self.sender is None
        if error.ended and error.unsent and upstream is not None and upstream.framed:  # GOAWAY, and the request was not taken
            stale = not self._fresh
        step = next_step(exchange, location.retry, 0, error, stale)
        excused = error.unsent
        if step == SAME_FRESH and upstream is not None and not excused:  # once it may have been a connection that just ended
            excused = upstream.pool.reuse_failed() == 1
        if error.blame == BACKEND and not (step == SAME_FRESH and excused):
            counted = bool(exchange.status) and not self._brief and self.outcome != _BAD_STATUS
            if not self.ended_at:
                plane.view.q[self.row + _NO_RESPONSE] += 1
            self.outcome = _FAILED
            self.ended_at = plane.clock()
            plane.outcomes.failed(location, member, error, counted, self.trial)
        if step == GIVE_UP:
            return GIVE_UP
        if not (error.unconnected or error.unsent and step == SAME_FRESH):
            if not plane.afford(location):
                return GIVE_UP
            self.paid = True
        if step == SAME_FRESH:
            exchange.resends += 1
        if error.lasting:
            exchange.answered = (*exchange.answered, member)
        exchange.status = 0
        exchange.note(f"{member.backend.display}: {error.detail}")
        return step

    # ------------------------------------------------------------------------------------------------------------------- ending

    def discard(self) -> None:
        """Discard a response that is not used. Its connection can be reused if the whole response has arrived."""
        response = self.response
        self.reusable = self.look = self.sender is None and response.keep_alive and 0 <= response.content_length == len(self.rest)

    def relayed(self) -> None:
        """Note that the client has the whole response."""
        if self.outcome == _UNDER_WAY:
            self.outcome = _GOOD
            if self._brief == _CALL:
                self._judge_call()

    def _judge_call(self) -> None:
        """A call has ended, or nobody waits for its end any longer: count its response, whose status was to come in trailers."""
        q, row = self.plane.view.cells, self.row
        self.verdict = status = final_verdict(self.exchange, self.response, self.upstream, self.outcome == _GOOD)
        self._brief = self.outcome == _GOOD
        q[row + CLASS_CELL[status]] += 1
        if self.outcome == _FAILED or (self._brief and status < self.location.lowest_bad_status):
            return
        self._brief = False
        self._timed(self.exchange.upstream_time)
        if status >= self.location.lowest_bad_status and self.plane.outcomes.is_bad(self.location, self.member, status, self.trial):
            self.outcome = _BAD_STATUS

    def delivered(self, source: Source) -> None:
        """See `whole`. source: of the response."""
        self.whole(self.response.keep_alive and source.reusable)

    def whole(self, reusable: bool) -> None:
        """The backend has sent the whole response, of which the client may have only a part: end the attempt, unless the backend still gets the
        request. reusable: True if its connection may carry another request"""
        if self.sender is None or self.sender.done:
            self.look = True
            self.reusable = reusable
            self.relayed()
            self.over()
            self.released = True

    def over(self) -> None:
        """End the attempt: give back what it used, and report its outcome. Called exactly once."""
        if self._brief == _CALL:
            self._judge_call()
        sender = self.sender
        upstream: Any = self.upstream
        if sender is not None:
            self.exchange.bytes_in += sender.stop()
            self.exchange.unread = 0 if sender.done else -1
        if upstream is not None:
            self.upstream = None
            if not self.reusable:
                upstream.close()
            elif self.framed:
                upstream.give_back(self.look)
            else:
                plain: Upstream = upstream
                plain.give_back(self.look)
        outcome = self.outcome
        if outcome == _GOOD and self._brief:
            q, row = self.plane.view.cells, self.row
            spent = int(self.exchange.upstream_time * 1e9)  # as in `_timed`, without a call
            q[row + _LATENCY] += spent
            cell = BUCKET_OF[spent // _FINE] if spent < _QUICK else bucket_of(spent / 1e9)
            q[row + _BUCKET + cell] += 1
        failed = outcome in (_FAILED, _BAD_STATUS)
        self.location.balancer.done(self.member, failed, self.ended_at or self.plane.clock())


def _says_when(response: ResponseHead) -> bool:
    """True if a response says when its backend may be asked again (Retry-After)."""
    for name, _value in response.fields:
        if name.lower() == b"retry-after":
            return True
    return False


class WatchedAttempt(Attempt):
    """An attempt for a location with a limit, a circuit, a total timeout, hedging, or an algorithm that measures.

    trial: True if the circuit of the backend is half-open. muted: True if the client gets no interim responses.
    """

    __slots__ = ("muted", "trial")

    def __init__(self, plane: DataPlane, exchange: Exchange, member: Member, fresh: bool) -> None:
        Attempt.__init__(self, plane, exchange, member, fresh)
        location = self.location
        self.muted = False
        self.trial = location.breaker is not None and member.on_trial()
        if location.total_timeout:
            exchange.asked = plane.clock()

    def judge(self) -> int:
        step = Attempt.judge(self)
        location, now = self.location, self.ended_at
        if self.sender is None or self.sender.ended:
            if location.balancer.measures:
                location.balancer.answered(self.member, self.exchange.upstream_time, now)
            if location.hedge:
                location.latencies.add(self.exchange.upstream_time)
        if step == _USE and not self._brief:
            self._went_well()
        return step

    def over(self) -> None:
        if self.outcome == _GOOD and self._brief:
            self._went_well()
        Attempt.over(self)
        if self.location.limited:
            self.location.queue.stir()

    def _went_well(self) -> None:
        breaker = self.location.breaker
        if breaker is not None:
            self.plane.outcomes.went_well(breaker, self.member, self.verdict, self.trial)
