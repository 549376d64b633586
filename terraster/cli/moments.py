"""Moments in options of terrasterctl: `--since 2h`, `--since 2026-11-28T17:00`."""

from __future__ import annotations

import argparse
import time
from datetime import datetime

from ..config.quantities import duration

__all__ = ["since"]


def since(text: str) -> float:
    """Seconds since 1970, of a time span that ends now, or of a date, with a time or without, in local time unless it has a zone."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        pass
    try:
        return time.time() - duration(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a time span such as 90s or 2h, or a date such as 2026-11-28T17:00") from None
