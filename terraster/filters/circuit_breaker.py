"""The circuit of each backend of a location: after so many failures in a row it opens, and the backend is left alone for a while.

The rule is `terraster.policy.breaker`, and the master applies it for all workers. So this kind has no hook: its settings become the
location's `breaker`.
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
        description="Whether backends have a circuit; `circuit_breaker: off` is short for false.",
    )
    threshold: Annotated[Whole, Field(ge=1, le=1_000_000)] = Field(
        _BREAKER.threshold, description="Failures in a row that open a backend's circuit."
    )
    failure_threshold: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Another spelling of `threshold`."
    )
    timeout: SomeTime = Field(_BREAKER.timeout, description="How long the circuit stays open before it is tried again.")
    reset_timeout: SomeTime | None = Field(None, description="Another spelling of `timeout`.")
    probes: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        _BREAKER.probes, description="Requests that may try the backend at once after that; all good close the circuit."
    )
    statuses: StatusRanges = Field(
        _BREAKER.statuses, description='Statuses that count as failures, beside no proper response: 500, "502-504", or a list.'
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
