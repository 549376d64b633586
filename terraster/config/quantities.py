"""Durations and sizes as people write them, turned into seconds and octets.

A duration is a number of seconds (`90`, `0.5`) or numbers with units, largest first or not (`90s`, `1h30m`, `500ms`, `1d`). A
size is a number of octets or a number with one binary unit (`64k`, `10M`, `2GiB`): k is 1024, as in nginx and HAProxy.
"""

from __future__ import annotations

import math
import re

from .scalars import number

__all__ = ["OCTETS", "OR_OFF", "SECONDS", "SHARE", "Quantity", "duration", "share", "shown", "size"]

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*(ns|us|µs|ms|s|m|h|d|w)")
_DURATION = re.compile(rf"(?:{_PART.pattern}\s*)+")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_OCTETS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*(%?)")
_LONGEST = 100 * 366 * 86400.0
_LARGEST = 1 << 60


def duration(value: object) -> float:
    """Seconds from a number or a text like ``1h30m``. ValueError for anything else, negative or beyond a century."""
    seconds: float
    value = number(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a duration like 90s, 5m or 1h30m")
    if isinstance(value, str):
        text = value.strip()
        if len(text) > 64:
            raise ValueError("must be a duration like 90s, 5m or 1h30m")
        if _NUMBER.fullmatch(text):
            seconds = float(text)
        elif _DURATION.fullmatch(text):
            seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
        else:
            raise ValueError("must be a duration like 90s, 5m or 1h30m")
    else:
        seconds = float(value)
    if not math.isfinite(seconds) or seconds < 0 or seconds > _LONGEST:
        raise ValueError("must be a duration between 0 and 100 years")
    return seconds


def size(value: object) -> int:
    """Octets from a number or a text like ``64k`` or ``10M``. ValueError for anything else, negative or fractional octets."""
    octets: float
    value = number(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("must be a size like 8192, 64k or 10M")
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip()) if len(value) <= 64 else None
        if match is None:
            raise ValueError("must be a size like 8192, 64k or 10M")
        octets = float(match[1]) * _OCTETS[match[2].lower()] if "." in match[1] else int(match[1]) * _OCTETS[match[2].lower()]
    else:
        octets = value
    if octets < 0 or octets > _LARGEST or octets != int(octets):
        raise ValueError("must be a size in whole octets, not negative")
    return int(octets)


def share(value: object) -> float:
    """A part of a whole, 0 … 1, from ``"50%"`` or 0.5. ValueError for anything else; a bare 50 is ambiguous."""
    value = number(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError('must be a share like "50%" or 0.5')
    match = _SHARE.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= 64 else None
    if isinstance(value, str) and match is None:
        raise ValueError('must be a share like "50%" or 0.5')
    part = float(match[1] if match is not None else value)
    if match is not None and match[2]:
        part /= 100
    elif 1 < part <= 100:
        raise ValueError(f"must be a share: write {part:g}% or {part / 100:g}")
    if not 0 <= part <= 1:
        raise ValueError("must be a share from 0 to 100%")
    return part


class Quantity:
    """The unit of a number: a mark in the type of a key, so that its values can be shown as they are written."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Quantity({self.name!r})"


SECONDS = Quantity("seconds")
OCTETS = Quantity("octets")
SHARE = Quantity("share of a whole")
OR_OFF = Quantity("something that may be off")


def shown(value: float, quantity: Quantity | None) -> str:
    """A number as an operator would write it."""
    if quantity is SECONDS:
        return _seconds(value)
    if quantity is OCTETS and value:
        power, unit = next((power, unit) for power, unit in ((30, "G"), (20, "M"), (10, "k"), (0, "")) if value % (1 << power) == 0)
        return f"{int(value) >> power}{unit}"
    if quantity is SHARE:
        return f"{value * 100:g}%"
    return "off" if quantity is OR_OFF and not value else f"{value:g}" if isinstance(value, float) else str(value)


def _seconds(value: float) -> str:
    for seconds, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if value >= 2 * seconds and value % seconds == 0 or value == seconds == 3600:
            return f"{value / seconds:g}{unit}"
    return f"{value * 1000:g}ms" if 0 < value < 1 else f"{value:g}s"
