"""Entries of `middleware`: rate limit, circuit breaker, CORS, security headers, compression."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from .. import scalars
from .base import Duration, Model, Names, SomeTime, StatusRanges, Text, Whole, later
from .switches import OrWord, switched

__all__ = ["CircuitBreaker", "CircuitBreakerSetting", "Compression", "Cors", "MiddlewareEntry", "RateLimit", "Security", "one_of"]


def one_of(model: Model, one: str, other: str) -> None:
    """ValueError if both of two spellings of one key are set."""
    if one in model.model_fields_set and other in model.model_fields_set:
        raise ValueError(f"has both `{one}` and `{other}`, which mean the same: keep one")


class RateLimit(Model):
    """How many requests one client may send."""

    requests_per_second: Annotated[float, Field(gt=0)] = Field(description="Requests per second, lasting.")
    burst: Annotated[Whole, Field(ge=1)] | None = Field(
        None, description="Requests at once above that. Default: one second's worth."
    )


class CircuitBreaker(Model):
    """When to leave a failing backend alone."""

    enabled: bool = Field(
        True,
        description="Whether backends have a circuit; `circuit_breaker: off` is short for false. Default: true, once there is one.",
    )
    threshold: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Failures in a row that open a backend's circuit. Default: 5."
    )
    failure_threshold: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Another spelling of `threshold`."
    )
    timeout: SomeTime | None = Field(None, description="How long the circuit stays open before it is tried again. Default: 30s.")
    reset_timeout: SomeTime | None = Field(None, description="Another spelling of `timeout`.")
    probes: Annotated[Whole, Field(ge=1, le=1000)] | None = Field(
        None, description="Requests that may try the backend at once after that; all good close the circuit. Default: 1."
    )
    statuses: StatusRanges | None = Field(
        None, description='Statuses that count as failures, beside no proper response: 500, "502-504", or a list. Default: 500-599.'
    )

    @model_validator(mode="after")
    def _spelt_once(self) -> Self:
        one_of(self, "threshold", "failure_threshold")
        one_of(self, "timeout", "reset_timeout")
        return self


CircuitBreakerSetting = Annotated[CircuitBreaker, BeforeValidator(switched), OrWord()]


class Cors(Model):
    """Which other origins' scripts may read the answers."""

    allowed_origins: Names = Field((), description="Origins, or `*`.")
    allowed_methods: Names = Field((), description="Methods beyond the simple ones.")
    allowed_headers: Names = Field((), description="Request headers a script may set.")
    exposed_headers: Names = Field((), description="Response headers a script may read.")
    allow_credentials: bool = Field(False, description="Whether cookies may be sent along. Default: false.")
    max_age: Duration | None = Field(None, description="How long a browser may remember the answer to a preflight; seconds.")


def _or_text(value: object) -> object:
    said = scalars.truth(value)
    return value if said is None else said


class Security(Model):
    """Headers that tell browsers to be careful."""

    hsts: bool = Field(False, description="Send Strict-Transport-Security over https. Default: false.")
    hsts_max_age: Duration | None = Field(None, description="Its max-age; seconds.")
    hsts_include_subdomains: bool = Field(False, description="Its includeSubDomains. Default: false.")
    hsts_preload: bool = Field(False, description="Its preload. Default: false.")
    frame_options: Text | None = Field(None, description="X-Frame-Options: DENY or SAMEORIGIN.")
    content_type_options: bool = Field(False, description="Send X-Content-Type-Options: nosniff. Default: false.")
    xss_protection: Annotated[bool | Text, BeforeValidator(_or_text)] | None = Field(
        None, description="Send X-XSS-Protection: true, or its value."
    )


class Compression(Model):
    """Compressed answers."""

    enabled: bool = Field(True, description="Whether answers are compressed. Default: true.")


CompressionSetting = Annotated[Compression, BeforeValidator(switched), OrWord()]


class MiddlewareEntry(Model):
    """One entry of `middleware`: one kind, or several."""

    rate_limit: RateLimit | None = later(description="How many requests one client may send.")
    circuit_breaker: CircuitBreakerSetting | None = Field(
        None, description="When to leave a failing backend alone: `on`, `off`, or a mapping."
    )
    cors: Cors | None = later(description="Which other origins' scripts may read the answers.")
    security: Security | None = later(description="Headers that tell browsers to be careful.")
    compression: CompressionSetting | None = later(description="Compressed answers: true, or a mapping.")

    @model_validator(mode="after")
    def _some_kind(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("names no kind of middleware")
        return self
