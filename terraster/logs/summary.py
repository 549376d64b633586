"""A request in a few fields, for operators who look at single requests (`terrasterctl requests`, `failures`, `tail`).

The fields are those of the access log, with its masks. The query is left out where no access line would have it. No header field is read.
Each text is cut at a number of characters, so that many summaries have a bound, and characters that would control a terminal are escaped.

A target is cut before it is masked: masks cost 1 µs for each parameter of a query. So a summary takes 7 µs, and 200 µs at worst (CPython 3.11).
"""

from __future__ import annotations

from typing import Any

from ..config.snapshot import AccessLog
from ..exchange import Exchange
from .sanitizer import Sanitizer

__all__ = ["FIELDS", "LONGEST", "Summaries"]

FIELDS = (
    "when",
    "client",
    "method",
    "host",
    "path",
    "service",
    "location",
    "backend",
    "status",
    "duration",
    "tries",
    "bytes_in",
    "bytes_out",
    "request_id",
    "reason",
    "detail",
)
"""The names of the values of a summary. Times: `when` seconds since 1970, `duration` seconds."""

LONGEST = 400
"""Characters of a path or a detail."""

_ELLIPSIS = "..."
_NAME = 200  # characters of every other text
_MOST_MASKS = 64  # different settings of access logs whose masks are kept


class Summaries:
    """Makes them. One for each process; pure, apart from its cache."""

    __slots__ = ("_masks",)

    def __init__(self) -> None:
        self._masks: dict[tuple[tuple[str, ...], str], Sanitizer] = {}

    def of(self, exchange: Exchange, reason: str = "") -> tuple[Any, ...]:
        """The values of a request, in the order of `FIELDS`. One that is not over has no `duration` yet: 0. reason: in place of the error
        type, if there is none"""
        log = _access_log(exchange)
        masks = self._of(log)
        return (
            exchange.wall,
            _cut(exchange.client_ip, _NAME),
            _cut(_text(exchange.method), 32),
            _cut(_text(exchange.host), _NAME),
            _cut(masks.uri(_uri(exchange.target, log)), LONGEST),
            "" if exchange.service is None else exchange.service.name,
            "" if exchange.location is None else exchange.location.label,
            "" if exchange.backend is None else exchange.backend.backend.label,
            exchange.status,
            exchange.duration,
            exchange.tries,
            exchange.bytes_in,
            exchange.bytes_out,
            _text(exchange.request_id),
            exchange.error or reason,
            _cut(masks.text(exchange.detail[: 4 * LONGEST]), LONGEST),
        )

    def _of(self, log: AccessLog) -> Sanitizer:
        key = log.redact_query, log.mask
        found = self._masks.get(key)
        if found is None:
            if len(self._masks) >= _MOST_MASKS:
                self._masks.clear()
            found = self._masks[key] = Sanitizer(*key)
        return found


def _access_log(exchange: Exchange) -> AccessLog:
    place = exchange.location or exchange.service
    log: AccessLog | None = exchange.plan.snapshot.access_log if place is None else place.access_log
    return log or AccessLog(path="")


def _uri(target: bytes, log: AccessLog) -> str:
    """A request target; without the query, unless an access line would have it."""
    uri = _text(target[:LONGEST])
    if len(target) > LONGEST:
        if not uri.startswith("/") or uri.startswith("//"):
            return _ELLIPSIS  # it may have been cut within a password
        uri += _ELLIPSIS
    return uri if log.path and log.query is not False and _has_uri(log) else uri.partition("?")[0]


def _has_uri(log: AccessLog) -> bool:
    if log.format == "json":
        return not log.fields or "uri" in log.fields
    return log.format in ("combined", "common") or "{uri}" in log.format


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")


def _cut(text: str, most: int) -> str:
    if len(text) > most:
        text = text[: most - len(_ELLIPSIS)] + _ELLIPSIS
    return text if text.isprintable() else "".join([one if one.isprintable() else _escaped(one) for one in text])


def _escaped(one: str) -> str:
    number = ord(one)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
