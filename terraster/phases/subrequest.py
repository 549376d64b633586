"""Subrequest: a request of ours about a client's request, through the same attempts, pools and counters as all others.

An exchange of its own goes to the location that stands for the server. Its client is nobody: no octet goes to a client, and only the timeout
of the location ends it. The client of the request that it is about may leave, which ends it, too. It is not logged: the line of the request
that it is about says what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

from terraster.errors import BadResponse, HttpError
from terraster.exchange import Exchange
from terraster.filters.runtime import Reply
from terraster.location_plan import LocationPlan
from terraster.net.body import ChunkedSource, Source, UntilCloseSource
from terraster.net.http2.backend_request import BackendRequest, FrameSource
from terraster.net.known_source import KnownSource
from terraster.policy.retry import GIVE_UP, SAME_FRESH, USE
from terraster.wire.http1 import parse_request

from .attempt import WatchedAttempt
from .data_plane import DataPlane
from .pick import first_pick, next_pick, settle_waits

__all__ = ["LARGEST", "Nobody", "Subrequests", "ask", "end", "location_of", "source_of"]

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

T = TypeVar("T")

Fields = Sequence[tuple[bytes, bytes]]


class _Ours:
    """In place of a client's connection: it says only what `terraster.phases.upstream_head` needs. fields: lines that go on as they are"""

    __slots__ = ("fields",)

    trusted = False
    session = certificate = None

    def __init__(self, fields: bytes) -> None:
        self.fields = fields


class Nobody:
    """In place of a client. worker: the greenlet that an interruption ends"""

    __slots__ = ("worker",)

    framed = False
    held = b""

    def __init__(self) -> None:
        self.worker: greenlet | None = getcurrent()

    @property
    def inlet(self) -> Nobody:
        """The side that a body comes from: all of it has come."""
        return self

    def abandon(self, reader: greenlet) -> None:
        """See `terraster.net.body.Inlet`. Nobody reads from here."""

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
        plane.limit(sub, sub.location.total_timeout)
        try:
            return ask(plane, sub, _reply)
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
        sub.connection = _Ours(_lines(about))
        sub.client = Nobody()
        sub.plan = exchange.plan
        sub.request_id = exchange.request_id
        sub.service = exchange.service
        sub.location = location_of(exchange.service.locations, path)
        sub.path, _, sub.query = target.partition(b"?")
        sub.idempotent = True
        return sub


def ask(plane: DataPlane, sub: Exchange, take: Callable[[DataPlane, WatchedAttempt], T]) -> T:
    """Try the backends of the location until one answers, as `terraster.proxy` does it for a client. Returns what ``take`` makes of the
    answer. Raises `HttpError`."""
    sub.location.requests += 1
    try:
        return _ask(plane, sub, take)
    finally:
        if sub.facts is not None:
            settle_waits(plane.view, sub)


def _ask(plane: DataPlane, sub: Exchange, take: Callable[[DataPlane, WatchedAttempt], T]) -> T:
    member = first_pick(plane, sub)
    step = USE
    while True:
        attempt = WatchedAttempt(plane, sub, member, step == SAME_FRESH)
        attempt.muted = True
        try:
            attempt.ask()
            step = attempt.judge()
            if step == USE:
                taken = take(plane, attempt)
                attempt.relayed()
                return taken
            attempt.discard()
        except HttpError as error:
            step = attempt.failed(error)
            if step == GIVE_UP:
                raise
        finally:
            attempt.over()
        member = next_pick(plane, sub, attempt, step)


def location_of(locations: Sequence[LocationPlan], path: str) -> LocationPlan:
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
    source = source_of(plane, attempt)
    if source is None:
        return b""
    if attempt.response.content_length > LARGEST:
        raise BadResponse("the backend's answer is too long")
    body = bytes(source.here())
    while not source.done:
        body += bytes(source.read(_READ))
        if len(body) > LARGEST:
            raise BadResponse("the backend's answer is too long")
    end(attempt, source)
    return body


def source_of(plane: DataPlane, attempt: WatchedAttempt) -> Source | None:
    """The body of the answer, None if there is none; then the connection can be used again. Else it cannot until `end`."""
    response, rest, upstream = attempt.response, attempt.rest, attempt.upstream
    length, wait = response.content_length, attempt.location.read_timeout
    assert upstream is not None
    upstream.phase = "read"
    attempt.look = True
    if response.no_body or not (length or (isinstance(upstream, BackendRequest) and upstream.trails)):
        attempt.reusable = response.keep_alive and not rest
        upstream.doubtful = True
        return None
    if isinstance(upstream, BackendRequest):
        return FrameSource(upstream, wait)
    if length > 0:
        return KnownSource(upstream, rest[:length], max(length - len(rest), 0), wait, plane.buffer)
    if response.chunked:
        return ChunkedSource(upstream, rest, wait, attempt.location.strict_responses)
    return UntilCloseSource(upstream, rest, wait)


def end(attempt: WatchedAttempt, source: Source) -> None:
    """Note that the body has been read to its end."""
    response = attempt.response
    behind = 0 < response.content_length < len(attempt.rest)
    attempt.reusable = response.keep_alive and source.reusable and not behind
