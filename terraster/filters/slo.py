"""`slo`: the service level objectives of a location.

The admin worker counts by them, once a minute and from counters that are there anyway (`terraster.admin.slos`). So this kind has no hook, and a
request is as fast with it as without.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, WithJsonSchema

from ..config import quantities, scalars
from ..config.settings.base import Duration
from ..config.settings.kinds import LOCATION, SERVICE, TOP, FilterSettings, Level
from ..config.slo import Slo
from ..policy.series import LONGEST
from ..state.cells import BUCKETS
from .contract import Filter

__all__ = ["SloFilter", "SloSettings"]

_HOUR = 3600.0
_MOST = 4
_FINEST = 6  # digits behind the point
_SLO = Slo()


def _percent(value: object) -> float:
    """A percentage between 0 and 100, both excluded, from 99.9 or "99.9%"."""
    if isinstance(value, str):
        value = value.strip().removesuffix("%").rstrip()
    number = scalars.number(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise ValueError("must be a percentage like 99.9")
    if not 0 < number < 100:
        raise ValueError("must be a percentage above 0 and below 100: no service answers all requests well")
    if round(number, _FINEST) != number:
        raise ValueError(f"must have at most {_FINEST} digits behind the point")
    return float(number)


def _bounds(value: object) -> dict[float, float]:
    if not isinstance(value, dict) or not value:
        raise ValueError("must be a mapping of a percentage to a duration, such as {95: 300ms}")
    found: dict[float, float] = {}
    for key, written in value.items():
        try:
            percent = _percent(key)
            bound = quantities.duration(written)
        except ValueError as error:
            raise ValueError(f"at {key}: {error}") from None
        if percent in found:
            raise ValueError(f"has {percent:g} twice")
        if not 0 < bound <= BUCKETS[-1]:
            raise ValueError(f"at {key}: must be above 0 and at most {BUCKETS[-1]:g}s, the longest time that is told apart")
        found[percent] = bound
    if len(found) > _MOST:
        raise ValueError(f"has more than {_MOST} objectives")
    return found


def _window(value: float) -> float:
    seconds = quantities.duration(value)
    if not _HOUR <= seconds <= LONGEST:
        raise ValueError("must be between 1h and 90d")
    return seconds


Percent = Annotated[
    float,
    BeforeValidator(_percent),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100}, {"type": "string"}]}),
]
Bounds = Annotated[
    dict[float, float],
    BeforeValidator(_bounds),
    WithJsonSchema({"type": "object", "minProperties": 1, "additionalProperties": {"type": ["string", "number"]}}),
]


class SloSettings(FilterSettings):
    """Service level objectives: the share of requests that are to go well, with burn rates and the error budget in status and metrics."""

    enabled: bool = Field(True, description="False: no objectives. `slo: off` is short for that.")
    availability: Percent | None = Field(
        None,
        description="Percentage of requests that are to be answered without a server error, such as 99.9. Default: no objective.",
    )
    latency: Bounds | None = Field(
        None,
        description="For each percentage of requests, the time in which they are to be answered: `{95: 300ms, 99: 1s}`. "
        "Default: no objective.",
    )
    window: Annotated[Duration, BeforeValidator(_window)] = Field(
        _SLO.window, description="The time over which the objectives hold and the error budget is counted, 1h to 90d."
    )

    def facts(self) -> dict[str, Any]:
        if not self.enabled or (self.availability is None and not self.latency):
            return {"slo": None}
        return {"slo": Slo(self.availability, tuple(sorted((self.latency or {}).items())), self.window)}

    def idle(self, beside: Collection[str]) -> Iterator[tuple[str, str]]:
        if self.availability is None and not self.latency:
            yield "", "has no effect: it has neither `availability` nor `latency`, here or on a wider level"
        found = sorted((self.latency or {}).items())
        for (percent, bound), (higher, above) in zip(found, found[1:], strict=False):
            if above <= bound:
                took = quantities.shown(bound, quantities.SECONDS)
                yield "latency", f"at {percent:g} has no effect: {higher:g} % of the requests are to be faster than {took} anyway"


class SloFilter(Filter):
    """Objectives of a location."""

    __slots__ = ()

    name: ClassVar[str] = "slo"
    settings: ClassVar[type[FilterSettings]] = SloSettings
    shorthand: ClassVar[tuple[Level, ...]] = (TOP, SERVICE, LOCATION)
