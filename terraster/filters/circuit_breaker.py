"""The circuit of each backend of a location: it opens after a number of failures in a row, and then the backend gets no requests for a while.

The rule is `terraster.policy.breaker`. The master applies it for all workers. So this kind has no hook: its settings become the location's
`breaker`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ..config.settings.base import SomeTime, StatusRanges, Whole
from ..config.settings.kinds import TOP, FilterSettings, Level
from ..config.snapshot import Breaker
from .contract import Filter

__all__ = ["CircuitBreaker", "CircuitBreakerSettings"]

_BREAKER = Breaker()


class CircuitBreakerSettings(FilterSettings):
    """When to leave a failing backend alone."""

    spellings: ClassVar[Mapping[str, str]] = {"failure_threshold": "threshold", "reset_timeout": "timeout"}

    enabled: bool = Field(
        True,
        description="False: backends have no circuit. `circuit_breaker: off` is short for that.",
    )
    threshold: Annotated[Whole, Field(ge=1, le=1_000_000)] = Field(
        _BREAKER.threshold, description="Failures in a row that open a backend's circuit."
    )
    failure_threshold: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Another spelling of `threshold`."
    )
    timeout: SomeTime = Field(_BREAKER.timeout, description="Time that the circuit stays open before requests may try the backend.")
    reset_timeout: SomeTime | None = Field(None, description="Another spelling of `timeout`.")
    probes: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        _BREAKER.probes,
        description="Requests that may try the backend at the same time after that. If all succeed, the circuit closes.",
    )
    statuses: StatusRanges = Field(
        _BREAKER.statuses,
        description='Statuses that count as failures, in addition to missing and malformed responses: 500, "502-504", or a list.',
    )

    def facts(self) -> dict[str, Any]:
        given = {name: value for name, value in self.given().items() if name != "enabled" and value is not None}
        return {"breaker": replace(Breaker(), **given) if self.enabled else None}


class CircuitBreaker(Filter):
    """Leaves a failing backend alone."""

    __slots__ = ()

    name: ClassVar[str] = "circuit_breaker"
    settings: ClassVar[type[FilterSettings]] = CircuitBreakerSettings
    shorthand: ClassVar[tuple[Level, ...]] = (TOP,)
