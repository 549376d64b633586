"""Which of many equal lines are written. Pure."""

from __future__ import annotations

from ..config.loggers import Sampling

__all__ = ["chosen"]


def chosen(count: int, rule: Sampling) -> bool:
    """True if the line with this count among its equals of one second, from 1, is written."""
    over = count - rule.initial
    return over <= 0 or (rule.thereafter > 0 and over % rule.thereafter == 0)
