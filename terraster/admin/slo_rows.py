"""Objectives as the API, terrasterctl, the dashboard and the problems of the status show them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..config import quantities
from ..policy.burn import WINDOWS, Assessment, Pair
from ..policy.expiry import span
from .slos import SloRow

__all__ = ["rows"]


def rows(found: Iterable[SloRow]) -> list[dict[str, Any]]:
    """Plain JSON values: ``service location objective text percent bound window since requests bad budget_left budget_spent burn_rates
    burning``.

    text: the objective in words. bound: seconds, null for availability. since: when the counting began, at most `window` ago, null: nothing was
    counted yet. budget_left: part of the budget, 0 … 1; budget_spent: above 1 if it is overspent. burn_rates: by window. burning: the worst
    pair that burns: ``severity short long factor rate gone_in text``, null: none
    """
    return [_row(one.service, one.location, one.state) for one in found]


def _row(service: str, location: str, state: Assessment) -> dict[str, Any]:
    objective = state.objective
    return {
        "service": service,
        "location": location,
        "objective": objective.name,
        "text": objective.words,
        "percent": objective.percent,
        "bound": objective.bound or None,
        "window": state.window,
        "since": state.since or None,
        "requests": round(state.requests),
        "bad": round(state.bad),
        "budget_left": _rounded(min(1.0, max(0.0, state.left))),
        "budget_spent": _rounded(1 - state.left),
        "burn_rates": {name: _rounded(state.rates[seconds]) for seconds, name in WINDOWS.items() if seconds in state.rates},
        "burning": None if state.burning is None else _burning(state, state.burning),
    }


def _burning(state: Assessment, pair: Pair) -> dict[str, Any]:
    rate = state.rates[pair.long]
    return {
        "severity": pair.severity,
        "short": WINDOWS[pair.short],
        "long": WINDOWS[pair.long],
        "factor": pair.factor,
        "rate": _rounded(rate),
        "gone_in": round(state.gone_in) if math.isfinite(state.gone_in) else None,
        "text": _in_words(state, pair, rate),
    }


def _in_words(state: Assessment, pair: Pair, rate: float) -> str:
    """Plainly: the operator who reads it was woken up."""
    objective = state.objective
    bad = "took longer" if objective.bound else "had a server error"
    share = f"{100 * rate * objective.allowed:.3g} % of the requests {bad}"
    text = (
        f"SLO {objective.words}: burns its budget {_times(rate)} times as fast as it may (in the last {WINDOWS[pair.long]} {share})"
    )
    window = quantities.shown(state.window, quantities.SECONDS)
    if state.left <= 0:
        return f"{text}; the budget of {window} is spent"
    left = f"{100 * state.left:.0f} %" if state.left >= 0.01 else "less than 1 %"
    return f"{text}; budget left {left}, at this rate gone in {span(state.gone_in)}"


def _times(rate: float) -> str:
    return f"{rate:.1f}" if rate < 100 else f"{rate:.0f}"


def _rounded(value: float) -> float:
    return round(value, 6)
