"""Which finished requests an access log has: its level, its condition (`terraster.config.log_when`) and its sample.

A condition is compiled once. A comparison takes 0.1 to 0.2 µs when a request ends.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any as Anything

from ..config import log_when
from ..config.log_when import Condition, Holds
from ..config.loggers import AccessLog
from ..exchange import Exchange
from .encoding import level_of
from .endings import termination_state
from .sampling import Sampler

__all__ = ["Choice"]

_ERROR = 500  # the least status of a line of level error, which no sample leaves out
_COMPARE: dict[str, Callable[[Anything, Anything], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _path(x: Exchange) -> bytes:
    return x.path or x.target.partition(b"?")[0]


def _service(x: Exchange) -> str:
    return "" if x.service is None else str(x.service.name)


def _location(x: Exchange) -> str:
    return "" if x.location is None else str(x.location.label)


def _upstream(x: Exchange) -> str:
    return "" if x.backend is None else str(x.backend.backend.label)


def _upstream_name(x: Exchange) -> str:
    return "" if x.backend is None else str(x.backend.backend.name)


def _level(x: Exchange) -> int:
    return level_of(x.status)


class _Spent:
    """Seconds that a request spent with something; -1 if it did not."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __call__(self, x: Exchange) -> float:
        return -1.0 if x.facts is None else float(x.facts.get(self._what, -1.0))


_GETTERS: dict[str, Callable[[Exchange], Anything]] = {
    **{name: operator.attrgetter(name) for name in ("status", "tries", "bytes_in", "bytes_out", "duration", "upstream_time")},
    **{name: _Spent(name) for name in ("queue_time", "connect_time", "tls_time")},
    **{name: operator.attrgetter(name) for name in ("method", "scheme", "host", "error", "user")},
    "client": operator.attrgetter("client_ip"),
    "peer": operator.attrgetter("peer_ip"),
    "path": _path,
    "service": _service,
    "location": _location,
    "upstream": _upstream,
    "upstream_name": _upstream_name,
    "termination_state": termination_state,
    "level": _level,
}
_OCTETS = ("method", "host", "path")


class _Comparison:
    __slots__ = ("_compare", "_get", "_value")

    def __init__(self, get: Callable[[Exchange], Anything], compare: Callable[[Anything, Anything], bool], value: Anything) -> None:
        self._get = get
        self._compare = compare
        self._value = value

    def holds(self, x: Exchange) -> bool:
        return self._compare(self._get(x), self._value)


class _Lasting(_Comparison):
    """Of a duration, which may be missing."""

    __slots__ = ()

    def holds(self, x: Exchange) -> bool:
        seconds = self._get(x)
        return seconds >= 0 and self._compare(seconds, self._value)


class _Present:
    __slots__ = ("_get",)

    def __init__(self, get: Callable[[Exchange], Anything]) -> None:
        self._get = get

    def holds(self, x: Exchange) -> bool:
        value = self._get(x)
        return value > 0 if isinstance(value, int | float) else bool(value)


class _All:
    __slots__ = ("_parts",)

    def __init__(self, parts: tuple[Test, ...]) -> None:
        self._parts = parts

    def holds(self, x: Exchange) -> bool:
        return all(part.holds(x) for part in self._parts)


class _Any(_All):
    __slots__ = ()

    def holds(self, x: Exchange) -> bool:
        return any(part.holds(x) for part in self._parts)


class _No:
    __slots__ = ("_part",)

    def __init__(self, part: Test) -> None:
        self._part = part

    def holds(self, x: Exchange) -> bool:
        return not self._part.holds(x)


Test = _Comparison | _Present | _All | _No


def _compiled(condition: Condition) -> Test:
    if isinstance(condition, log_when.All):
        return _All(tuple(map(_compiled, condition.parts)))
    if isinstance(condition, log_when.Any):
        return _Any(tuple(map(_compiled, condition.parts)))
    if isinstance(condition, log_when.No):
        return _No(_compiled(condition.part))
    return _held(condition)


def _held(one: Holds) -> Test:
    get = _GETTERS[one.field]
    if not one.operator:
        return _Present(get)
    value: Anything = one.value
    if one.field in _OCTETS:
        value = str(value).encode()
    kind = _Lasting if one.field in log_when.DURATIONS else _Comparison
    return kind(get, _COMPARE[one.operator], value)


class Choice:
    """The exchanges that one access log has."""

    __slots__ = ("_least", "_sampler", "_test")

    def __init__(self, config: AccessLog) -> None:
        self._least = config.least
        self._test = _compiled(log_when.read(config.when)) if config.when else None
        self._sampler = Sampler(config.sample, config.sampling) if config.sample < 1.0 or config.sampling is not None else None

    @property
    def takes_all(self) -> bool:
        """True if none is left out."""
        return not self._least and self._test is None and self._sampler is None

    def takes(self, x: Exchange) -> bool:
        """True if a finished exchange is logged. Counts it, where only some of many equal ones are."""
        if x.status < self._least or (self._test is not None and not self._test.holds(x)):
            return False
        return self._sampler is None or x.status >= _ERROR or self._sampler.takes(x)
