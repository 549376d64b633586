"""The forms of values in encoded lines (`terraster.config.loggers.Encoding`): levels, times and durations, for both kinds of logs. Pure.

``string`` durations are those of Go: ``1.5ms``, ``2m3s``; the unit is chosen so that the number before it is not below 1.
"""

from __future__ import annotations

import logging
import time

__all__ = ["duration", "duration_string", "level_of", "level_word", "levels", "stamp"]

_WORDS = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warn",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}
_COLORS = {logging.DEBUG: 35, logging.INFO: 34, logging.WARNING: 33, logging.ERROR: 31, logging.CRITICAL: 31}


def level_of(status: int) -> int:
    """The level of `logging` of an access line, by the status of the answer."""
    return logging.ERROR if status >= 500 else logging.WARNING if status >= 400 else logging.INFO


def levels(encoder: str) -> dict[int, str]:
    """Levels of `logging` → the word that stands for them."""
    return {level: level_word(level, encoder) for level in _WORDS}


def level_word(level: int, encoder: str) -> str:
    """A level of `logging` as this encoder spells it."""
    near = max((one for one in _WORDS if one <= level), default=logging.DEBUG)
    word = _WORDS[near]
    if encoder in ("capital", "capitalColor"):
        word = word.upper()
    return f"\x1b[{_COLORS[near]}m{word}\x1b[0m" if encoder in ("color", "capitalColor") else word


def stamp(seconds: float, encoder: str) -> str | float | int:
    """A moment, in seconds since 1970, as this encoder writes it: local time with its offset, or a number."""
    if encoder == "epoch":
        return round(seconds, 6)
    if encoder in ("millis", "nanos"):
        return round(seconds * 1e3) if encoder == "millis" else round(seconds * 1e6) * 1000  # a float has no nanoseconds
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    fraction = {"iso8601": f".{int(seconds % 1 * 1e3):03d}", "rfc3339nano": f".{int(seconds % 1 * 1e9):09d}"}.get(encoder, "")
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}{fraction}{zone[:3]}:{zone[3:]}"


def duration(seconds: float, encoder: str) -> str | float | int:
    """A duration as this encoder writes it."""
    if encoder == "string":
        return duration_string(seconds)
    if encoder == "nanos":
        return round(seconds * 1e9)
    return round(seconds * 1e3, 3) if encoder == "ms" else round(seconds, 6)


def duration_string(seconds: float) -> str:
    """A duration as Go writes it."""
    nanoseconds = round(seconds * 1e9)
    if nanoseconds < 1_000_000_000:
        for unit, size in (("ms", 1_000_000), ("µs", 1000)):
            if nanoseconds >= size:
                return f"{_plain(nanoseconds / size)}{unit}"
        return f"{nanoseconds}ns" if nanoseconds else "0s"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    words = f"{_plain(rest / 1e9)}s"
    if minutes or hours:
        words = f"{minutes}m{words}"
    return f"{hours}h{words}" if hours else words


def _plain(number: float) -> str:
    return f"{number:.9f}".rstrip("0").rstrip(".")
