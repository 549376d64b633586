"""`shed`: a worker with more work than it can do refuses a share of new requests at once, so that those that it serves do not wait ever longer.

How much is refused is decided in `terraster.policy.overload`; the worker measures (`terraster.phases.overload`). Requests that ask how a
backend is are never refused: a load balancer in front would take a 503 there for a server that is down.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, WithJsonSchema

from ..config import quantities
from ..config.settings.base import SomeTime
from ..config.settings.kinds import FilterSettings
from ..errors import US, HttpError
from ..exchange import Exchange
from ..policy.overload import Gate
from ..state.view import SeatView
from .contract import Counter, Filter, Place, Stage

__all__ = ["Shed", "ShedSettings"]

_SPARED = frozenset({b"/healthz", b"/readyz", b"/grpc.health.v1.Health/Check", b"/grpc.health.v1.Health/Watch"})
"""Paths that are never refused."""


_LEAST = 1 << 20


def _memory(value: object) -> float:
    """Octets, or for a text with % a part of the cgroup's limit, at most 1."""
    if isinstance(value, str) and value.strip().endswith("%"):
        part = quantities.share(value)
        if not part:
            raise ValueError("must be more than 0%")
        return part
    octets = quantities.size(value)
    if octets < _LEAST:
        raise ValueError(f"must be at least {_LEAST}")
    return octets


Memory = Annotated[
    float,
    BeforeValidator(_memory),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": _LEAST}, {"type": "string"}]}),
]


class ShedSettings(FilterSettings):
    """A share of new requests is refused with 503 while a worker is overloaded."""

    enabled: bool = Field(True, description="False: nothing is refused. `shed: off` is short for that.")
    loop_lag: Annotated[SomeTime, Field(ge=0.005, le=60)] | None = Field(
        None,
        description="How long a turn of a worker's event loop may take, 5 ms to 60 s. Requests are refused while every turn of half a second "
        "takes longer. Default: no limit.",
    )
    memory: Memory | None = Field(
        None,
        description="Resident memory that one worker may have, or `80%`: the part of its limit that the cgroup (container) may have. Refusals "
        "begin at 90 % of that. Default: no limit.",
    )
    retry_after: SomeTime = Field(1.0, description="When clients may try again (`Retry-After`), rounded up to seconds.")


class Shed(Filter):
    """Refuses requests of an overloaded worker."""

    __slots__ = ("_lag", "_memory", "_needed", "_refused", "_retry_after")

    name: ClassVar[str] = "shed"
    stage: ClassVar[Stage] = Stage.LIMITS
    settings: ClassVar[type[FilterSettings]] = ShedSettings
    counters: ClassVar[tuple[Counter, ...]] = (Counter("refused", "Requests refused because their worker was overloaded."),)

    def __init__(self, settings: ShedSettings, place: Place, view: SeatView) -> None:
        if settings.enabled and settings.loop_lag is None and settings.memory is None:
            raise place.problem(self.name, "says nothing of `loop_lag` or `memory`, here or on a wider level")
        gates = place.runtime.gates
        self._needed = settings.enabled
        self._lag = gates.lag(settings.loop_lag) if settings.enabled and settings.loop_lag is not None else Gate()
        self._memory = Gate()
        if settings.enabled and settings.memory is not None:
            self._memory = gates.memory(int(settings.memory)) if settings.memory > 1 else gates.share(settings.memory)
        self._retry_after = math.ceil(settings.retry_after)
        self._refused = place.tally("refused")

    def needs(self, hook: str) -> bool:
        return self._needed

    def on_request(self, exchange: Exchange) -> None:
        if self._lag.share and self._lag.refuses():
            self._refuse(exchange, "shed: the worker is overloaded, its event loop lags")
        if self._memory.share and self._memory.refuses():
            self._refuse(exchange, "shed: the worker is overloaded, it is short of memory")

    def explained(self, exchange: Exchange, answered: bool) -> str:
        return "" if answered else "lets it pass, unless the worker that gets it is overloaded"

    def _refuse(self, exchange: Exchange, why: str) -> None:
        """Refuse a request, unless it asks how a backend is."""
        if exchange.path in _SPARED:
            return
        self._refused.count()
        raise HttpError(why, status=503, reason="http_request_denied", blame=US, retry_after=self._retry_after)
