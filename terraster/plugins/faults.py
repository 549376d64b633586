"""Exceptions of plugins in words."""

from __future__ import annotations

from .guard import Overrun
from .loading import place_of

__all__ = ["said"]


def said(error: BaseException, file: str) -> str:
    """An exception in words, with the line of a file where it arose."""
    if isinstance(error, Overrun):
        words = "took too long and was cut off"
    else:
        try:
            text = " ".join(str(error).split())[:300]
        except Exception:
            text = ""
        words = f"{type(error).__name__}: {text}" if text else type(error).__name__
    line = place_of(error, file) if file else 0
    return f"{words} ({file}:{line})" if line else words
