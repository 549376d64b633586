"""Subrequest: a request of ours about a client's request, through the same attempts, pools and counters as all others.

An exchange of its own goes to the location that stands for the server. Its client is nobody: no octet goes to a client, and only the timeout
of the location ends it. The client of the request that it is about may leave, which ends it, too. It is not logged: the line of the request
that it is about says what became of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from greenlet import getcurrent, greenlet

from terraster.errors import BadResponse, HttpError
from terraster.exchange import Exchange
from terraster.filters.runtime import Reply
from terraster.location_plan import LocationPlan
from terraster.net.body import ChunkedSource, KnownSource, Source, UntilCloseSource
from terraster.net.upstream import Upstream
from terraster.policy.retry import GIVE_UP, SAME_FRESH, USE
from terraster.wire.http1 import parse_request

from .attempt import WatchedAttempt
from .data_plane import DataPlane
from .pick import first_pick, next_pick

__all__ = ["LARGEST", "Subrequests"]

LARGEST = 1 << 20
"""Octets of an answer's body."""

_READ = 65536
_HEAD_SIZE, _HEAD_COUNT = 1 << 20, 1000  # the client's head had narrower limits

_DROPPED = frozenset(
    (
        b"connection",
        b"content-length",
        b"date",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

Fields = Sequence[tuple[bytes, bytes]]


class _Ours:
    """In place of a client's connection: it says only what `terraster.phases.upstream_head` needs. fields: lines that go on as they are"""

    __slots__ = ("fields",)

    trusted = False
    session = certificate = None

    def __init__(self, fields: bytes) -> None:
        self.fields = fields


class _Nobody:
    """In place of a client. connection: see `_Ours`. worker: the greenlet that an interruption ends"""

    __slots__ = ("connection", "worker")

    framed = False
    inlet = None

    def __init__(self, fields: bytes) -> None:
        self.connection = _Ours(fields)
        self.worker: greenlet | None = getcurrent()

    def interrupt(self, error: HttpError) -> None:
        """See `terraster.net.downstream.Downstream.interrupt`."""
        worker = self.worker
        if worker is not None:
            self.worker = None
            worker.throw(error)


class Subrequests:
    """See `terraster.filters.runtime.Subrequests`. One for each worker."""

    __slots__ = ("_plane",)

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def get(self, exchange: Exchange, path: str, target: bytes, fields: Fields, about: Fields) -> Reply:
        plane, client = self._plane, exchange.client
        sub = self._exchange(exchange, path, target, fields, about)
        client.watch()
        plane.limit(sub, sub.location.timeouts.total)
        try:
            return self._ask(sub)
        finally:
            client.unwatch()
            sub.client.worker = None
            plane.deadlines.pop(sub, None)

    def _exchange(self, exchange: Exchange, path: str, target: bytes, fields: Fields, about: Fields) -> Exchange:
        """The request, with the request id of the one that it is about."""
        plane = self._plane
        octets = b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (target, _lines(fields))
        head: Any = parse_request(octets, _HEAD_SIZE, _HEAD_COUNT)
        assert head is not None
        now = plane.clock()
        sub = Exchange(now, now + plane.wall, exchange.client_ip, exchange.peer_ip, exchange.scheme, head)
        sub.client = _Nobody(_lines(about))
        sub.plan = exchange.plan
        sub.request_id = exchange.request_id
        sub.service = exchange.service
        sub.location = _location(exchange.service.locations, path)
        sub.path, _, sub.query = target.partition(b"?")
        sub.idempotent = True
        return sub

    def _ask(self, sub: Exchange) -> Reply:
        """Try the backends of the location until one answers, as `terraster.proxy` does it for a client."""
        plane = self._plane
        sub.location.requests += 1
        member = first_pick(plane, sub)
        step = USE
        while True:
            attempt = WatchedAttempt(plane, sub, member, step == SAME_FRESH)
            attempt.muted = True
            try:
                attempt.ask()
                step = attempt.judge()
                if step == USE:
                    reply = _reply(plane, attempt)
                    attempt.relayed()
                    return reply
                attempt.discard()
            except HttpError as error:
                step = attempt.failed(error)
                if step == GIVE_UP:
                    raise
            finally:
                attempt.over()
            member = next_pick(plane, sub, attempt, step)


def _location(locations: Sequence[LocationPlan], path: str) -> LocationPlan:
    for location in locations:
        if location.path == path:
            return location
    raise HttpError("no such server in this configuration", status=503, reason="destination_unavailable")


def _lines(fields: Fields) -> bytes:
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def _reply(plane: DataPlane, attempt: WatchedAttempt) -> Reply:
    """The answer, with its whole body. Raises `HttpError`."""
    response = attempt.response
    if response.status < 200:
        raise BadResponse("the backend switched protocols unasked")
    attempt.exchange.status = response.status
    dropped = _DROPPED if response.dropped is None else _DROPPED | response.dropped
    fields = tuple([(bytes(name), bytes(value)) for name, value in response.fields if name.lower() not in dropped])
    return Reply(response.status, fields, _body(plane, attempt))


def _body(plane: DataPlane, attempt: WatchedAttempt) -> bytes:
    response, rest, upstream = attempt.response, attempt.rest, attempt.upstream
    assert isinstance(upstream, Upstream)  # these locations speak HTTP/1.1
    length, wait = response.content_length, attempt.location.timeouts.read
    upstream.phase = "read"
    attempt.look = True
    if response.no_body or not length:
        attempt.reusable = response.keep_alive and not rest
        upstream.doubtful = True
        return b""
    if length > LARGEST:
        raise BadResponse("the backend's answer is too long")
    source: Source
    if length > 0:
        source = KnownSource(upstream, rest[:length], max(length - len(rest), 0), wait, plane.buffer)
    elif response.chunked:
        source = ChunkedSource(upstream, rest, wait, attempt.location.strict_responses)
    else:
        source = UntilCloseSource(upstream, rest, wait)
    body = bytes(source.here())
    while not source.done:
        body += bytes(source.read(_READ))
        if len(body) > LARGEST:
            raise BadResponse("the backend's answer is too long")
    attempt.reusable = response.keep_alive and source.reusable and not 0 < length < len(rest)
    return body
