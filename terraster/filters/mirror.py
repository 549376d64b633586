"""`mirror`: copies of requests go to other servers, whose answers are discarded or compared.

The original knows nothing of its copy. The copy is made when the original is over and its client has the response: nothing waits for it, and
what becomes of it changes nothing. It is what the backend of the original got: the canonical path after rewrites, the fields after the rules
for headers, the body. A request that was refused, or answered without a backend, has no copy.

With `compare` the answer to a copy is compared with that to its original (`terraster.policy.comparison`), as both came from their servers:
before rules for headers and compression. The digest of the original's body is made as it passes.

Memory is reserved before the body comes, so that all bodies that are kept for copies have a bound. The body is kept as it passes to the
backend (`terraster.net.body.RequestBody.keep`). The runtime sends copies (`terraster.phases.mirrors`).

Upgrades, CONNECT, gRPC and event streams are not copied, because they last and have no whole body. Nor are copies of another mirror, which
their marker tells: two mirrors that point to each other would never end.

The module is longer than 400 lines because a filter has its keys, counters and hooks in one file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from copy import copy as duplicate
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, WithJsonSchema, model_validator

from ..config import addresses, scalars
from ..config.settings.base import Duration, HeaderName, Names, Size, SomeTime, Text, Whole, items
from ..config.settings.kinds import CALLED, Call, FilterSettings
from ..errors import HttpError
from ..exchange import Exchange
from ..policy.comparison import Answered, Digest, Rules, differences
from ..state.view import SeatView
from ..wire.edits import Edits
from ..wire.http1 import RequestHead, ResponseHead
from ..wire.transform import Watch
from .contract import Counter, Filter, Place, Tally
from .copies import Copy, Target, to_send
from .rate_limit import EntryName

__all__ = ["MARKER", "Mirror", "MirrorSettings"]

MARKER = b"X-Terraster-Mirror"
"""The field by which a copy is known."""

_MARKER = MARKER.lower()
_MARKED = b"%b: 1\r\n" % MARKER
_DROPPED = frozenset((b"expect", b"trailer", _MARKER))
_HOST = frozenset((b"host",))
_SECOND = 1_000_000_000
_EVENTS = b"text/event-stream"
_CHANGING = (
    "Age",
    "Date",
    "ETag",
    "Expires",
    "Last-Modified",
    "Server-Timing",
    "Set-Cookie",
    "X-Request-ID",
    "X-Runtime",
)
"""Fields that differ between two answers to the same request as a rule."""

_Part = Literal["status", "headers", "body", "latency"]
_PARTS = ("status", "headers", "body", "latency")
_PARTS_SCHEMA = {"anyOf": [{"enum": ["all", *_PARTS]}, {"type": "array", "items": {"enum": list(_PARTS)}}]}
_METHOD_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ-")


def _targets(value: object) -> object:
    return tuple(items(value, "a URL"))


def _servers(urls: tuple[addresses.Url, ...]) -> tuple[addresses.Url, ...]:
    if not urls:
        raise ValueError("must not be an empty list")
    if len({url.text for url in urls}) < len(urls):
        raise ValueError("names a server twice")
    if any(url.srv for url in urls):
        raise ValueError("must have URLs that start with http://, https:// or http+unix://")
    return urls


def _percent(value: object) -> object:
    written = value.strip().removesuffix("%").rstrip() if isinstance(value, str) else value
    number = scalars.number(written)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 100:
        raise ValueError("must be a number from 0 to 100")
    return float(number)


def _methods(names: tuple[str, ...]) -> tuple[str, ...]:
    if names == ("all",):
        return names
    for name in names:
        if not name or not _METHOD_LETTERS.issuperset(name) or name == "CONNECT":
            raise ValueError(f"must have methods in capitals, or be `all`: {name!r}")
    return names


def _host(value: str) -> str:
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be a host name, with a port if one is wanted")
    return value


def _parts(value: object) -> object:
    return _PARTS if value == "all" else tuple(items(value, "text"))


_URL = Annotated[addresses.Url, BeforeValidator(addresses.url)]
_TEXT_OR_LIST = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class MirrorSettings(FilterSettings):
    """Copies of requests go to other servers, whose answers are discarded or compared. They neither slow nor fail the originals."""

    enabled: bool = Field(True, description="False: nothing is copied. `mirror: off` is short for that.")
    to: Annotated[tuple[_URL, ...], BeforeValidator(_targets), AfterValidator(_servers), WithJsonSchema(_TEXT_OR_LIST)] | None = (
        Field(
            None,
            description="URL of the server that gets the copies, or a list of URLs, which take turns. TLS is spoken as with the backends of "
            "the service. Some level must say it.",
        )
    )
    http2: bool = Field(False, description="Speak HTTP/2 to these servers, as with `backends[].http2`.")
    percent: Annotated[float, BeforeValidator(_percent), WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}]})] = (
        Field(100.0, description="Percentage of requests that are copied, by chance; 0.1 is one in a thousand.")
    )
    methods: Annotated[Names, AfterValidator(_methods)] = Field(
        ("GET", "HEAD", "OPTIONS"),
        description="Methods of requests that are copied, or `all`. Copies of other methods have their effects a second time.",
    )
    host: Annotated[Text, AfterValidator(_host)] | None = Field(
        None, description="The Host of copies. Default: that of the original."
    )
    body_size: Size = Field(
        65536, description="Requests with a longer body are not copied. Of bodies that are compared so much is read."
    )
    timeout: SomeTime = Field(5.0, description="Time for each copy, from the connection to the end of the answer.")
    concurrency: Annotated[Whole, Field(ge=1, le=10000)] = Field(
        32, description="Copies that are under way at once, in each worker and for each `to`."
    )
    queue: Annotated[Whole, Field(ge=0, le=100000)] = Field(
        256, description="Copies that wait, likewise. Further ones are skipped."
    )
    memory: Size = Field(
        16 << 20,
        description="Octets that a worker keeps for copies of all mirrors together, bodies and heads. Requests that find no room are skipped.",
    )
    compare: Annotated[tuple[_Part, ...], BeforeValidator(_parts), WithJsonSchema(_PARTS_SCHEMA)] = Field(
        (),
        description="Parts of both answers that are compared: `status`, `headers`, `body`, `latency`; or `all`. Without it answers are "
        "discarded.",
    )
    ignore_headers: tuple[HeaderName, ...] = Field(
        _CHANGING, description=f"Fields of answers that are not compared. Default: {', '.join(_CHANGING)}."
    )
    slower_by: Duration = Field(
        0.1, description="A copy whose answer begins so much later than that of its original counts as slower (`latency`)."
    )
    name: EntryName | None = Field(None, description="Tells entries apart.")

    @model_validator(mode="after")
    def _fits(self) -> MirrorSettings:
        if {"body_size", "memory"} <= self.model_fields_set and self.body_size > self.memory:
            raise ValueError("has a `body_size` above `memory`: such bodies would never be copied")
        return self

    def idle(self, beside: Collection[str]) -> Iterator[tuple[str, str]]:
        if not self.percent:
            yield "percent", "is 0, so nothing is copied; `mirror: off` says so"
        for key, part in (("ignore_headers", "headers"), ("slower_by", "latency")):
            if part not in self.compare:
                yield key, f"has no effect unless `compare` has `{part}`"

    def doubts(self, level: BaseModel | None) -> Iterator[tuple[str, str]]:
        theirs = {(one.url.scheme, one.url.host, one.url.port, one.url.socket) for one in getattr(level, "backends", ())}
        for url in self.to or ():
            if (url.scheme, url.host, url.port, url.socket) in theirs:
                yield (
                    "to",
                    f"`mirror` sends copies to {url.text}, which is a backend of the same location: it gets each of them a second time",
                )

    def calls(self) -> tuple[Call, ...]:
        if not self.to or not self.percent:
            return ()
        path = f"{CALLED}mirror{'+http2' if self.http2 else ''}:{','.join([url.text for url in self.to])}"
        return (Call(path, self.to, 0.0, 1, self.http2),)


class Mirror(Filter):
    """Makes copies. It comes last: what was refused is not copied, and it sees what all others have done to a head."""

    __slots__ = (
        "_body_size",
        "_compares",
        "_draw",
        "_extra",
        "_head_drop",
        "_memory",
        "_methods",
        "_rules",
        "_runtime",
        "_share",
        "_tallies",
        "target",
        "where",
    )

    name: ClassVar[str] = "mirror"
    settings: ClassVar[type[FilterSettings]] = MirrorSettings
    counters: ClassVar[tuple[Counter, ...]] = (
        Counter("sent", "Copies that were sent to the servers of a mirror, failed ones included."),
        Counter("failed_connect", "Copies that failed because there was no connection."),
        Counter("failed_timeout", "Copies that failed because there was no whole answer in time."),
        Counter("failed_response", "Copies that failed because the answer was malformed or broken off."),
        Counter("skipped_method", "Requests that were not copied for their method."),
        Counter("skipped_body_too_large", "Requests that were not copied because their body was too large."),
        Counter("skipped_queue_full", "Requests that were not copied because too many copies waited or took too much memory."),
        Counter("skipped_target_failing", "Requests that were not copied because the last copies had failed."),
        Counter(
            "skipped_kind", "Requests that were not copied because they were upgrades, gRPC, event streams, or copies themselves."
        ),
        Counter("skipped_incomplete", "Requests that were not copied because no backend got them whole."),
        Counter("compared", "Answers to copies that were compared with those to the originals."),
        Counter("differed_status", "Compared answers with another status."),
        Counter("differed_headers", "Compared answers with other fields."),
        Counter("differed_body", "Compared answers with another body."),
        Counter("differed_latency", "Compared answers that began later by `slower_by` or more."),
        Counter("original_seconds", "Seconds until the compared answers to originals began.", per=_SECOND),
        Counter("copy_seconds", "Seconds until the compared answers to copies began.", per=_SECOND),
        Counter("dropped", "Copies that waited or were under way when a reload or the end of a worker ended their mirror."),
    )

    def __init__(self, settings: MirrorSettings, place: Place, view: SeatView) -> None:
        """Raises `ConfigError` if no level names a server, or if no body fits into the memory."""
        if settings.to is None:
            raise place.problem(self.name, "says nothing of `to`, here or on a wider level")
        if settings.body_size > settings.memory:
            raise place.problem(self.name, "has a `body_size` above `memory`: such bodies would never be copied")
        calls = settings.calls()
        self._share = settings.percent / 100 if calls and place.location is not None else 0.0
        self.target = Target(calls[0].path if calls else "", settings.timeout, settings.concurrency, settings.queue)
        self.where = "" if place.location is None else place.location.label
        self._runtime = place.runtime
        self._draw = place.runtime.draw
        self._tallies: dict[str, Tally] = {counter.name: place.tally(counter.name) for counter in self.counters}
        self._methods = None if settings.methods == ("all",) else frozenset(name.encode("ascii") for name in settings.methods)
        self._body_size = settings.body_size
        self._memory = settings.memory
        self._compares = bool(settings.compare)
        self._rules = Rules(
            status="status" in settings.compare,
            headers="headers" in settings.compare,
            body="body" in settings.compare,
            latency="latency" in settings.compare,
            ignored=frozenset(name.lower().encode("ascii") for name in settings.ignore_headers),
            slower_by=settings.slower_by,
        )
        self._head_drop = _DROPPED
        self._extra = _MARKED
        if settings.host:
            self._head_drop = _DROPPED | _HOST
            self._extra += b"Host: %b\r\n" % settings.host.encode("ascii")

    def needs(self, hook: str) -> bool:
        return self._share > 0.0

    # ---------------------------------------------------------------------------------------------------------------- the original

    def on_request(self, exchange: Exchange) -> None:
        if self._draw() >= self._share:
            return
        head: RequestHead = exchange.head
        why = self._why_not(exchange, head)
        room = 0
        if not why:
            room = self._body_size if head.chunked else max(head.content_length, 0)
            if not self._runtime.mirrors.hold(head.size + room, self._memory):
                why = "skipped_queue_full"
        if why:
            self._tallies[why].count()
            return
        if exchange.facts is None:
            exchange.facts = {}
        exchange.facts[self] = Copy(self, head.size + room, room)

    def explained(self, exchange: Exchange, answered: bool) -> str:
        why = self._why_not(exchange, exchange.head)
        if why:
            return f"copies it nowhere: {_NOT[why]}"
        servers = [one for one in exchange.service.locations if one.path == self.target.path]
        urls = " or ".join([member.backend.url for one in servers for member in one.members])
        how = "copies it" if self._share >= 1 else f"copies {self._share * 100:g} % of such requests, by chance,"
        return f"{how} to {urls} once it has been answered"

    def _why_not(self, exchange: Exchange, head: RequestHead) -> str:
        """The counter that says why a request is not copied, "": it is."""
        if self._methods is not None and head.method not in self._methods:
            return "skipped_method"
        if head.upgrade is not None or head.protocol is not None or exchange.grpc is not None or head.method == b"CONNECT":
            return "skipped_kind"
        for name, _ in head.fields:
            if name.lower() == _MARKER:
                return "skipped_kind"
        return "skipped_body_too_large" if head.content_length > self._body_size else ""

    def on_upstream(self, exchange: Exchange, edits: Edits) -> None:
        copy = self._copy(exchange)
        if copy is None:
            return
        copy.drop = frozenset(edits.drop) | self._head_drop
        copy.extra = edits.extra + self._extra
        if copy.connection is not None:  # another attempt
            return
        copy.head = duplicate(exchange.head) if exchange.framed else exchange.head  # that of HTTP/2 may be released before the end
        copy.connection = exchange.connection
        body = exchange.body
        if body is None:
            return
        if body.spool is None:
            body.keep(copy.room)
        elif body.done and body.spool.size <= copy.room:
            copy.content = b"".join([body.spool.part(number) for number in range(body.spool.count())])

    def on_response(self, exchange: Exchange, edits: Edits) -> None:
        if edits.own or edits.status < 200:
            return
        copy = self._copy(exchange)
        head = edits.head
        if copy is None or not isinstance(head, ResponseHead):
            return
        if _is_stream(head):
            self._forget(exchange, copy, "skipped_kind")
        elif self._compares and self._runtime.mirrors.hold(head.size, self._memory):
            copy.held += head.size
            copy.responded(head, exchange.upstream_time)
            if self._rules.body and edits.body is None:
                digest, watch = Digest(self._body_size), None
                if not head.no_body and head.content_length:
                    watch = edits.transform = Watch(digest, edits.transform)
                copy.watch(digest, watch)

    def on_log(self, exchange: Exchange) -> None:
        copy = self._copy(exchange)
        if copy is None:
            return
        if copy.connection is None:
            self._forget(exchange, copy, "skipped_incomplete")
            return
        content, why = self._content(exchange, copy)
        if why:
            self._forget(exchange, copy, why)
            return
        self._take_out(exchange)
        copy.exchange = to_send(exchange, copy, content)
        why = self._runtime.mirrors.send(copy)
        if why:
            self._drop(copy, why if why == "dropped" else f"skipped_{why}")

    def _copy(self, exchange: Exchange) -> Copy | None:
        return None if exchange.facts is None else exchange.facts.get(self)

    def _take_out(self, exchange: Exchange) -> None:
        assert exchange.facts is not None
        del exchange.facts[self]

    def _content(self, exchange: Exchange, copy: Copy) -> tuple[bytes, str]:
        """The body of the request, and the counter that says why it cannot be copied, "": it can."""
        body = exchange.body
        if body is None:
            return exchange.content, "" if len(exchange.content) <= self._body_size else "skipped_body_too_large"
        if copy.content is not None:
            return copy.content, ""
        if body.spool is not None or not body.whole:
            return b"", "skipped_body_too_large"
        return bytes(body.kept), "" if body.done else "skipped_incomplete"

    def _forget(self, exchange: Exchange, copy: Copy, why: str) -> None:
        self._take_out(exchange)
        self._drop(copy, why)

    def _drop(self, copy: Copy, why: str) -> None:
        self._runtime.mirrors.release(copy.held)
        self._tallies[why].count()

    # -------------------------------------------------------------------------------------------------- the copy, told by the runtime

    def digest(self) -> Digest | None:
        """For the body of an answer to a copy; None: it is not compared."""
        return Digest(self._body_size) if self._rules.body else None

    def answered(self, copy: Copy, answer: Answered) -> dict[str, Any]:
        """The answer to a copy has come. Returns how it differs from that of the original (`terraster.policy.comparison.differences`)."""
        original = copy.original
        if original is None:
            return {}
        found = differences(self._rules, original, answer)
        self._tallies["compared"].count()
        for part in found:
            self._tallies[f"differed_{part}"].count()
        self._tallies["original_seconds"].count(int(original.seconds * _SECOND))
        self._tallies["copy_seconds"].count(int(answer.seconds * _SECOND))
        return found

    def began(self) -> None:
        """A copy goes to a server."""
        self._tallies["sent"].count()

    def failed(self, error: HttpError) -> None:
        """No whole answer came to a copy."""
        if error.unconnected:
            why = "failed_connect"
        elif error.status == 504:
            why = "failed_timeout"
        else:
            why = "failed_response"
        self._tallies[why].count()

    def skipped(self, why: str) -> None:
        """A copy that waited will not be sent. why: as from `terraster.filters.runtime.Mirrors.send`"""
        self._tallies[f"skipped_{why}"].count()

    def dropped(self) -> None:
        """The mirror has ended before the copy was answered."""
        self._tallies["dropped"].count()


_NOT = {
    "skipped_method": "its method is not one of `methods`",
    "skipped_kind": "it is an upgrade, a call of gRPC or a copy itself",
    "skipped_body_too_large": "its body is larger than `body_size`",
}
"""The reasons of `Mirror._why_not` in words."""


def _is_stream(head: ResponseHead) -> bool:
    for name, value in head.fields:
        if name.lower() == b"content-type":
            return value.partition(b";")[0].strip(b" \t").lower() == _EVENTS
    return False
