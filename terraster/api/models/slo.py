"""Objectives of locations, and how their budgets burn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Model, Row
from .services import Moment, Next

__all__ = ["SloPage", "SloRow"]


class Burning(Model):
    """A pair of windows in which the budget burns too fast."""

    severity: Annotated[Literal["page", "ticket"], Field(description="page: at once; ticket: within days.")]
    short: Annotated[str, Field(description="The short window.")]
    long: Annotated[str, Field(description="The long window.")]
    factor: Annotated[float, Field(description="The burn rate that both windows have reached.")]
    rate: Annotated[float, Field(description="The burn rate in the long window.")]
    gone_in: Annotated[float | None, Field(description="Seconds in which the budget is gone at this rate.")]
    text: Annotated[str, Field(description="All this as a sentence.")]


class SloRow(Row):
    service_name: str
    path: str
    objective: Annotated[str, Field(description="Its name within the location: `availability`, `latency-95`.")]
    text: Annotated[str, Field(description="The objective in words.")]
    percent: float
    bound: Annotated[float | None, Field(description="Seconds within which the requests are to be answered; null: availability.")]
    window: Annotated[float, Field(description="Seconds over which it holds.")]
    since: Moment
    requests: Annotated[int, Field(description="Requests within the window, as far as they were counted.")]
    bad: Annotated[int, Field(description="Those of them that had a server error, or took longer.")]
    budget_left: Annotated[float, Field(description="Part of the error budget that is left, 0 to 1.")]
    budget_spent: Annotated[float, Field(description="Part that is spent; above 1 if it is overspent.")]
    burn_rates: Annotated[dict[str, float], Field(description="Burn rates by window, `5m` to `3d`.")]
    burning: Annotated[Burning | None, Field(description="The worst pair of windows that burns.")]


class SloPage(Model):
    items: list[SloRow]
    next: Next
