"""The kinds of filters, in the order in which their hooks are called. The first three are asked before the rules for headers, which have the
last word about every head."""

from __future__ import annotations

from .contract import Filter
from .headers import Headers
from .redirect import Redirect

__all__ = ["KINDS"]

KINDS: tuple[type[Filter], ...] = (
    Redirect,
    Headers,
)
