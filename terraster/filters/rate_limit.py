"""`rate_limit`: how many requests one client may send in a time, counted exactly over all workers (`terraster.state.buckets`).

Clients are told apart by `key` (`terraster.filters.client_key`). The locations of a service that inherit an entry share its limit. A
location whose settings of the entry differ has a limit of its own.

Fields of the response: ``RateLimit-Policy`` and ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers-10), a line for each entry; or the older
``X-RateLimit-*``, which have room for one entry, the one that is nearest to its limit. A refusal always has ``Retry-After``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from ..config.settings.base import Whole, text
from ..config.settings.kinds import LOCATION, SERVICE, TOP, FilterSettings, Level
from ..errors import CLIENT, HttpError
from ..exchange import Exchange
from ..state.buckets import RULE, Buckets
from ..state.view import SeatView
from ..wire.edits import Edits
from .client_key import ClientKey, Prefix, RequestKey
from .contract import Counter, Filter, Place, Stage

__all__ = ["EntryName", "RateLimit", "RateLimitSettings"]

_SECOND = 1_000_000_000


def _entry_name(value: object) -> str:
    name = text(value)
    if not 1 <= len(name) <= 64 or not all(one.isascii() and (one.isalnum() or one in "._-") for one in name):
        raise ValueError("must be 1 to 64 letters, digits, `.`, `_`, `-`")
    return name


EntryName = Annotated[str, BeforeValidator(_entry_name), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"})]


class RateLimitSettings(FilterSettings):
    """How many requests each client may send."""

    enabled: bool = Field(True, description="False: no limit. `rate_limit: off` is short for that.")
    requests_per_second: Annotated[float, Field(ge=0.0001, le=1_000_000)] | None = Field(
        None, description="Requests per second, lasting; 0.1 is one in ten seconds. Some level must say it."
    )
    burst: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Requests at once after a pause. Default: one second's worth."
    )
    key: RequestKey = Field(
        "client-ip",
        description="How clients are told apart: `client-ip`, `path`, `header:X`, `cookie:X`, `query:X` or `jwt:CLAIM`. A request "
        "without that value counts for its address.",
    )
    ipv6_prefix: Prefix = Field(64, description="Bits of an IPv6 address that count as one client, 1 to 128.")
    status: Annotated[Whole, Field(ge=400, le=599)] = Field(429, description="Status of a refusal, 400 to 599.")
    headers: Literal["draft", "legacy", "none"] = Field(
        "draft", description="Fields that tell clients the limit: `RateLimit` (draft), `X-RateLimit-*` (legacy), or none."
    )
    mode: Literal["enforce", "observe"] = Field(
        "enforce", description="observe: refuse nothing, but count and log what would be refused."
    )
    name: EntryName | None = Field(None, description="Tells entries apart, and names the limit to clients.")

    leans_on = frozenset({"jwt"})

    def idle(self, beside: Collection[str]) -> Iterator[tuple[str, str]]:
        if self.key.startswith("jwt:") and "jwt" not in beside:
            yield (
                "key",
                f"is {self.key}, but without the filter `jwt` no request has a claim: clients are told apart by their addresses",
            )
        if self.mode == "observe":
            for key in ("status", "headers"):
                yield key, "has no effect with `mode: observe`"


class RateLimit(Filter):
    """Refuses requests above a rate."""

    __slots__ = (
        "_buckets",
        "_draft",
        "_fields",
        "_interval",
        "_key",
        "_label",
        "_legacy",
        "_observed",
        "_refused",
        "_status",
        "_tolerance",
    )

    name: ClassVar[str] = "rate_limit"
    settings: ClassVar[type[FilterSettings]] = RateLimitSettings
    levels: ClassVar[tuple[Level, ...]] = (TOP, SERVICE, LOCATION)
    shorthand: ClassVar[tuple[Level, ...]] = (TOP,)
    stage: ClassVar[Stage] = Stage.LIMITS
    counters: ClassVar[tuple[Counter, ...]] = (
        Counter("refused", "Requests refused by a rate limit."),
        Counter("observed", "Requests that a rate limit in mode observe would have refused."),
        Counter("forgotten", "Clients forgotten before their time because a rate limit had no room for more."),
    )

    def __init__(self, settings: RateLimitSettings, place: Place, view: SeatView) -> None:
        rate = settings.requests_per_second
        if rate is None:
            raise place.problem(self.name, "says nothing of `requests_per_second`, here or on a wider level", entry=settings.entry)
        burst = settings.burst or math.ceil(rate)
        self._interval = interval = round(_SECOND / rate)
        self._tolerance = interval * burst
        policy = f"{self.name}\0{RULE}\0{place.scope(self.name, settings)}\0{settings.entry}\0{interval}"
        self._key = ClientKey(view.table.secret, policy, settings.key, settings.ipv6_prefix)
        self._buckets = Buckets(view, place.tally("forgotten").count)
        self._refused = place.tally("refused")
        self._observed = place.tally("observed") if settings.mode == "observe" else None
        self._status = settings.status
        self._label = settings.entry or "default"
        self._fields = settings.headers if settings.mode == "enforce" else "none"
        window = max(1, math.ceil(burst / rate))
        quota = max(burst, math.floor(rate * window))
        self._draft = b'RateLimit-Policy: "%b";q=%d;w=%d\r\nRateLimit: "%b";r=%%d;t=%%d\r\n' % (
            self._label.encode(),
            quota,
            window,
            self._label.encode(),
        )
        self._legacy = b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %%d\r\nX-RateLimit-Reset: %%d\r\n" % quota

    def held(self) -> dict[str, Any]:
        """The limit and the clients that this process remembers: ``kind name key most interval tolerance known``, see `ClientKey.known`."""
        return {
            "kind": self.name,
            "name": self._label,
            "key": self._key.kind,
            "most": self._tolerance // self._interval,
            "interval": self._interval,
            "tolerance": self._tolerance,
            "known": self._key.known(),
        }

    def numbers(self, said: str) -> tuple[int, ...]:
        """See `ClientKey.numbers`."""
        return self._key.numbers(said)

    def forget(self, number: int) -> None:
        """See `Buckets.forget`."""
        self._buckets.forget(number)

    def when(self) -> Stage:
        return Stage.IDENTITY_LIMITS if self._key.kind == "jwt" else Stage.LIMITS

    def needs(self, hook: str) -> bool:
        return hook == "on_request" or self._fields != "none"

    def on_request(self, exchange: Exchange) -> None:
        debt = self._buckets.take(self._key.number(exchange), int(exchange.started * 1e9), self._interval, self._tolerance)
        if debt < 0:
            self._refuse(exchange, -debt)
        elif self._fields != "none":
            if exchange.facts is None:
                exchange.facts = {}
            exchange.facts[self] = debt

    def on_response(self, exchange: Exchange, edits: Edits) -> None:
        facts = exchange.facts
        if facts is None or self not in facts or edits.status < 200:
            return
        debt = facts[self]
        values = self._left(debt), -(-debt // _SECOND)
        if self._fields == "draft":
            edits.extra += self._draft % values
            return
        for other, others in facts.items():
            if isinstance(other, RateLimit) and other._fields == "legacy" and other._left(others) < values[0]:
                return
        lines = self._legacy % values
        for line in lines.splitlines():
            edits.remove(line.partition(b":")[0])
        edits.extra += lines

    def _left(self, debt: int) -> int:
        """Requests that a client with this debt may send at once."""
        return (self._tolerance - debt) // self._interval

    def _refuse(self, exchange: Exchange, wait: int) -> None:
        """Refuse a request that may be repeated after some nanoseconds, or note that it would be refused."""
        if self._observed is not None:
            self._observed.count()
            exchange.note(f"rate_limit: limit {self._label} would refuse this request")
            return
        self._refused.count()
        if exchange.facts is None:
            exchange.facts = {}
        exchange.facts[self] = self._tolerance
        raise HttpError(
            f"rate_limit: limit {self._label} exceeded",
            status=self._status,
            reason="http_request_denied",
            blame=CLIENT,
            retry_after=max(1, -(-wait // _SECOND)),
        )
