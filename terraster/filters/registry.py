"""The kinds of filters, in the order in which their hooks are called. The rules for headers come last, because they have the last word
about a head."""

from __future__ import annotations

from .circuit_breaker import CircuitBreaker
from .contract import Filter
from .headers import Headers
from .redirect import Redirect
from .respond import Respond

__all__ = ["KINDS"]

KINDS: tuple[type[Filter], ...] = (
    Redirect,
    Respond,
    CircuitBreaker,
    Headers,
)
