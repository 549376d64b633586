"""The keys that may be written at the top, in a service and in a location alike: how a backend is chosen, apart from the algorithm's
name, and what is done for a request when a backend fails.

Each key of each mapping is inherited by itself: location over service over top over default. So every field here is None (or not
set) where nothing was written; `terraster.config.resolve` has the defaults. Some models may also be one word in the file
(`terraster.config.settings.switches`): `retry: off` is one attempt, `queue: off` a queue without room.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from ...wire import grpc
from .. import quantities, retry_words, scalars, snapshot
from ..hash_on import selector
from .base import (
    Algorithm,
    Duration,
    FileOrOff,
    FilePath,
    Model,
    Secret,
    Size,
    SomeTime,
    StatusRanges,
    Whole,
    status_ranges,
)
from .cookies import CookieSettings
from .switches import OFF_SCHEMA, OrWord, off_is, off_is_zero, switched
from .to_backends import ServerName, check_key

__all__ = [
    "ConnectionPool",
    "OutlierSettings",
    "QueueSettings",
    "RetrySettings",
    "StickySettings",
    "TrafficSettings",
]

_LOCATION = snapshot.Location("", "")
_RETRY = _LOCATION.retry
_QUEUE = _LOCATION.queue
_STICKY = _LOCATION.sticky
_CONNECTION_POOL = _LOCATION.pool
_OUTLIER = snapshot.Outlier()

_LEAST_SECRET = 16


def _retried(value: object) -> tuple[tuple[int, int], ...]:
    if scalars.is_off(value) or value in ([], ()):
        return ()
    items = value if isinstance(value, list | tuple) else value.split(",") if isinstance(value, str) else [value]
    found: list[tuple[int, int]] = []
    of_grpc: list[tuple[int, int]] = []
    for one in items:
        try:
            if isinstance(one, str) and one.strip().lower().startswith("grpc"):
                of_grpc.append((grpc.named(one), grpc.named(one)))
            else:
                found += status_ranges([one])
        except ValueError as error:
            raise ValueError(f"{error}{retry_words.meant(one)}") from None
    return (*found, *of_grpc)


def _percentile(value: object) -> float:
    words = 'must be a percentile from 50 to 99.9, like 95 or "95%", or `off`'
    if scalars.is_off(value):
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(words)
    match = re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]+)?)\s*%?\s*", str(value))
    number = float(match[1]) if match is not None else -1.0
    if number != 0 and not 50 <= number <= 99.9:
        raise ValueError(words)
    return number


def _factor(value: object) -> float:
    words = "must be `off` or a number from 1 to 100, like 1.25 (a quarter more than the fair share)"
    if scalars.is_off(value):
        return 0.0
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
    except ValueError:
        raise ValueError(words) from None
    if number != 0 and not 1 <= number <= 100:
        raise ValueError(words)
    return number


def _session_algorithm(value: str) -> str:
    if value == "sticky-session":
        raise ValueError("must be another algorithm than sticky-session: it chooses the backend of a new session")
    return value


def _long_enough(value: Any) -> Any:
    if len(value.get_secret_value()) < _LEAST_SECRET:
        raise ValueError(f"must have {_LEAST_SECRET} characters or more")
    return value


_SHARE_SCHEMA = {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string"}]}

Share = Annotated[float, quantities.SHARE, BeforeValidator(quantities.share), WithJsonSchema(_SHARE_SCHEMA)]
Times = Annotated[Whole, Field(ge=0, le=1_000_000)]
"""A count of something in a row; 0: not looked at."""
RetryStatuses = Annotated[
    tuple[tuple[int, int], ...],
    quantities.OR_OFF,
    BeforeValidator(_retried),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "array"}, OFF_SCHEMA]}),
]
Percentile = Annotated[
    float,
    quantities.OR_OFF,
    BeforeValidator(_percentile),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": 99.9}, {"type": "string"}, OFF_SCHEMA]}),
]
Factor = Annotated[
    float,
    quantities.OR_OFF,
    BeforeValidator(_factor),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": 100}, {"type": "string"}, OFF_SCHEMA]}),
]


class OutlierSettings(Model):
    """When a backend is ejected for what requests saw of it."""

    enabled: bool = Field(True, description="Eject backends; `outlier: off` is short for false.")
    failures: Times = Field(
        _OUTLIER.failures,
        description="Attempts in a row without a proper response (reset, timeout, garbage) that eject; 0: not looked at.",
    )
    connect_errors: Times = Field(
        _OUTLIER.connect_errors, description="Attempts in a row without a connection that eject; 0: not looked at."
    )
    bad_statuses: Times = Field(
        _OUTLIER.bad_statuses, description="Responses in a row with one of `statuses` that eject; 0: not looked at."
    )
    statuses: StatusRanges = Field(_OUTLIER.statuses, description='Statuses that count as bad: 503, "500-599", or a list.')
    ratio: Share = Field(
        _OUTLIER.ratio,
        description="Share of the attempts within `window` that failed or had a bad status, which ejects; 0: not looked at.",
    )
    window: Annotated[SomeTime, Field(le=3600)] = Field(_OUTLIER.window, description="What `ratio` looks back at.")
    min_requests: Annotated[Whole, Field(ge=1, le=1_000_000)] = Field(
        _OUTLIER.min_requests, description="Attempts within `window` below which `ratio` is not looked at."
    )
    time: SomeTime = Field(_OUTLIER.time, description="How long the first ejection lasts; the n-th in a row lasts n times as long.")
    max_time: SomeTime = Field(_OUTLIER.max_time, description="The longest an ejection may last.")
    max_ejected: Share = Field(
        _OUTLIER.max_ejected,
        description="Share of a location's backends that may be ejected at once, counted with the one about to be.",
    )


class RetrySettings(Model):
    """When an attempt that failed is followed by another one."""

    attempts: Annotated[Whole, Field(ge=1, le=100)] = Field(
        _RETRY.attempts, description="Attempts for one request, the first included; 1: no retries."
    )
    on: RetryStatuses = Field(
        _RETRY.on,
        description='Statuses that are tried again where the method allows it: 503, "502-504", a list, or `off`. Statuses of gRPC may be '
        "among them: `grpc-unavailable`.",
    )
    idempotency_key: bool = Field(
        _RETRY.idempotency_key, description="Treat a request with an Idempotency-Key field as idempotent."
    )
    per_try_timeout: Duration = Field(
        _RETRY.per_try_timeout,
        description="From the last octet of the request to the whole response head, for one attempt; it bounds connecting, too. "
        "0: only the other timeouts.",
    )
    budget: Share = Field(
        _RETRY.budget, description="Retries as a share of the requests of the last ten seconds or so, over all workers."
    )
    min_per_second: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        _RETRY.min_per_second, description="Retries a second that are allowed whatever `budget` says, over all workers."
    )
    backoff: Annotated[Duration, Field(le=60)] = Field(
        _RETRY.backoff, description="Wait before the second retry, doubled for each further one, less up to a half by chance."
    )
    body_size: Annotated[Size, Field(le=1 << 30)] = Field(
        _RETRY.body_size, description="Octets of a request body that are kept to be sent again; a longer one is not retried."
    )
    response_size: Annotated[Size, Field(le=1 << 20)] = Field(
        _RETRY.response_size,
        description="Octets up to which an answer of known length is held back until it is whole, so that it can be tried elsewhere when "
        "the backend breaks off within; 0: answers are passed on as they come.",
    )
    hedge: Percentile = Field(
        _RETRY.hedge,
        description='Percentile of latency (95 or "95%") after which a second backend is asked as well, or `off`.',
    )


class QueueSettings(Model):
    """Requests that wait while all backends are full."""

    size: Annotated[Whole, Field(ge=0, le=1_000_000)] = Field(
        _QUEUE.size, description="Requests that may wait, per location over all workers; 0: none."
    )
    timeout: SomeTime = Field(_QUEUE.timeout, description="How long one may wait; then 503 with Retry-After.")


class ConnectionPool(Model):
    """Connections to backends."""

    max_idle: Annotated[Whole, Field(ge=0, le=10_000_000)] | None = Field(
        None, description="Idle connections kept, per backend over all workers; 0: none. Default: 256 in each worker."
    )
    max_open: Annotated[Whole, Field(ge=0, le=10_000_000)] = Field(
        _CONNECTION_POOL.max_open, description="Connections at once, busy or idle, per backend over all workers; 0: no limit."
    )
    idle_timeout: SomeTime = Field(_CONNECTION_POOL.idle_timeout, description="How long an idle connection is kept.")


class StickySettings(CookieSettings):
    """The cookie of sticky-session."""

    algorithm: Annotated[Algorithm, AfterValidator(_session_algorithm)] = Field(
        _STICKY.algorithm, description="How the backend of a new session is chosen."
    )
    secret: Annotated[Secret, AfterValidator(_long_enough)] | None = Field(
        None,
        description="Key that signs cookies, the same on all instances that share clients; `file:/path` reads it from a file. "
        "Default: a key of this instance's own, kept in `state_dir`.",
    )


class TrafficSettings(Model):
    """The keys that a location inherits from its service, and a service from the top."""

    hash_on: Annotated[str, BeforeValidator(selector)] = Field(
        _LOCATION.hash_on,
        description="Key of `consistent-hash`: client-ip, path, header:NAME, cookie:NAME or query:NAME.",
    )
    hash_balance_factor: Factor = Field(
        _LOCATION.hash_balance_factor,
        description="How many times its fair share a backend may get at once under `consistent-hash` and `ip-hash`, 1 to 100, or off."
        "",
    )
    sticky: StickySettings | None = Field(None, description="The cookie of `sticky-session`.")
    slow_start: Annotated[Duration, BeforeValidator(off_is_zero), OrWord(off_only=True)] = Field(
        _LOCATION.slow_start, description="Time in which a backend that comes, or comes back, gets from little to its full share."
    )
    panic_threshold: Annotated[Share, BeforeValidator(off_is_zero), OrWord(off_only=True)] = Field(
        _LOCATION.panic_threshold, description="Share of backends that are up below which all are used, as if all were; 0: never."
    )
    outlier: Annotated[OutlierSettings, BeforeValidator(switched), OrWord()] | None = Field(
        None, description="When a backend is ejected for what requests saw of it; `off`, or a mapping."
    )
    retry: Annotated[RetrySettings, off_is("attempts", 1), OrWord(off_only=True)] | None = Field(
        None, description="When an attempt that failed is followed by another one; `off`, or a mapping."
    )
    queue: Annotated[QueueSettings, off_is("size", 0), OrWord(off_only=True)] | None = Field(
        None, description="Requests that wait while all backends are full; `off`, or a mapping."
    )
    connection_pool: ConnectionPool | None = Field(None, description="Connections to backends.")
    skip_tls_verify: bool = Field(False, description="Accept any certificate of https backends.")
    sni: ServerName = Field(
        "",
        description="TLS server name sent to https backends, and wanted in their certificates. Default: the host of each one's URL.",
    )
    ca_file: FileOrOff = Field(
        "",
        description="PEM file of the authorities that may have issued the certificates of https backends; or `off`. Default: the system's "
        "authorities.",
    )
    client_cert: FileOrOff = Field(
        "", description="PEM file of the certificate, with its chain, that https backends are shown; or `off`. Default: none."
    )
    client_key: FilePath | None = Field(
        None, description="PEM file of its private key. Default: `client_cert`, which then has both."
    )

    @model_validator(mode="after")
    def _key_has_its_certificate(self) -> Self:
        check_key(self)
        return self
