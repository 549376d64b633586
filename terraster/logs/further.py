"""Parts that only some access lines have: the fields that cost most, and the keys and forms of a logger's encoding.

`terraster.logs.renderer.Renderer` asks for them only where a configuration has them, so that other lines cost what they did.
"""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from operator import itemgetter
from typing import Any
from urllib.parse import parse_qsl

from ..config.log_format import FIELDS, JSON_FIELDS
from ..config.loggers import AccessLog, Encoding
from ..exchange import CONNECT_TIME, QUEUE_TIME, TLS_TIME, Exchange
from .encoding import duration, level_of, levels
from .endings import termination_state
from .sanitizer import Sanitizer
from .trace import TRACE, Trace

__all__ = ["STAMP", "STAMP_CLF", "Encoded", "Further", "encoded_template", "json_fields", "plain"]

STAMP, STAMP_CLF = "\x01", "\x02"
"""Marks in a template that each second replaces with the time, to the second, in the two spellings."""

_NUMBERS = frozenset(("status", "bytes_in", "bytes_out", "tries"))
_NOTHING: dict[Any, Any] = {}
_DURATIONS = frozenset(("duration", "upstream_time", QUEUE_TIME, CONNECT_TIME, TLS_TIME))
_TIMES = {
    "iso8601": (f'"{STAMP}.%03dZ"', 1.0),
    "rfc3339": (f'"{STAMP}Z"', 0.0),
    "rfc3339nano": (f'"{STAMP}.%09dZ"', 1e6),
    "epoch": ("%.6f", 1e-3),
    "millis": ("%d", 1.0),
    "nanos": ("%d", 1e6),
}
"""Conversions of the time, and by what its milliseconds are multiplied; 0: the second is enough."""


class Further:
    """The values of `FURTHER_FIELDS`, in their order. json: of a JSON line. names: the fields of the line"""

    __slots__ = ("_empty", "_json", "_levels", "_looks", "_sanitizer")

    def __init__(self, sanitizer: Sanitizer, encoding: Encoding | None, json: bool, names: tuple[str, ...]) -> None:
        self._sanitizer = sanitizer
        self._looks = "headers" in names or "query_params" in names
        self._empty = "null" if json else "-"
        self._json = json
        words = levels("lowercase" if encoding is None else encoding.level_encoder)
        self._levels = {level: encode_basestring_ascii(word) if json else word for level, word in words.items()}

    def values(self, x: Exchange) -> tuple[str, ...]:
        """The values as a line has them."""
        state = termination_state(x)
        spent = x.facts or _NOTHING
        return (
            self.level(x.status),
            f'"{state}"' if self._json else state,
            *[self._lasting(spent.get(what)) for what in (QUEUE_TIME, CONNECT_TIME, TLS_TIME)],
            self.headers(x) if self._looks else "",
            self.parameters(x) if self._looks else "",
            *self._ids(spent.get(TRACE)),
        )

    def level(self, status: int) -> str:
        """The level of a line, by the status."""
        return self._levels[level_of(status)]

    def headers(self, x: Exchange) -> str:
        """The fields of the request."""
        return self._shown(self._headers(x))

    def parameters(self, x: Exchange) -> str:
        """The parameters of the query."""
        return self._shown(self._parameters(x))

    def _ids(self, trace: Trace | None) -> tuple[str, str]:
        """The ids of the trace and of the span, as far as the request has them. They are hexadecimal digits."""
        if trace is None:
            return ('""', '""') if self._json else ("-", "-")
        ids = trace.trace_id.decode("ascii"), trace.span_id.decode("ascii")
        return (f'"{ids[0]}"', f'"{ids[1]}"') if self._json else ids

    def _lasting(self, seconds: float | None) -> str:
        return self._empty if seconds is None else f"{seconds:.6f}"

    def _headers(self, x: Exchange) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in () if x.head is None else x.head.fields:
            spelt = name.decode("utf-8", "backslashreplace").lower()
            found.setdefault(spelt, []).append(self._sanitizer.field(spelt, value.decode("utf-8", "backslashreplace")))
        return {name: [", ".join(values)] for name, values in found.items()}

    def _parameters(self, x: Exchange) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        query = x.target.decode("utf-8", "backslashreplace").partition("?")[2]
        for name, value in parse_qsl(query, keep_blank_values=True):
            found.setdefault(name, []).append(self._sanitizer.parameter(name, value))
        return found

    def _shown(self, values: dict[str, list[str]]) -> str:
        """An object of JSON: a text for one value, an array for several."""
        quote = encode_basestring_ascii
        pairs = (
            f"{quote(name)}:{quote(of[0]) if len(of) == 1 else '[' + ','.join(map(quote, of)) + ']'}" for name, of in values.items()
        )
        text = "{" + ",".join(pairs) + "}"
        return text if self._json else quote(text)[1:-1]


def plain(names: tuple[str, ...]) -> Callable[[tuple[Any, ...]], Any] | None:
    """A function that selects the values of these fields from those of a plain line, in the order of `FIELDS`; None if all are selected."""
    if names == JSON_FIELDS:
        return None
    indices = [FIELDS.index(name) for name in names if name != "time_clf"]
    if len(indices) == 1:  # itemgetter with one index gives the value, not a tuple
        return lambda values: (values[indices[0]],)
    return itemgetter(*indices) if indices else lambda values: ()


class Encoded:
    """Selects the values of encoded lines, and gives times and durations their form.

    exact: True if a duration has the form that it has in other lines
    """

    __slots__ = ("exact", "_encoder", "_order", "_scale", "_whole")

    def __init__(self, names: tuple[str, ...], encoding: Encoding) -> None:
        self._encoder = encoding.duration_encoder
        self.exact = self._encoder == "seconds"
        self._scale = _TIMES[encoding.time_encoder][1]
        self._whole = {"epoch": 1, "millis": 1000, "nanos": 1_000_000_000}.get(encoding.time_encoder, 0)
        self._order = tuple((FIELDS.index(name), name in _DURATIONS) for name in names)

    def pick(self, values: tuple[Any, ...], second: float) -> tuple[Any, ...]:
        """The values for the template of `encoded_template`. values: of all fields, as the renderer has them. second: the whole second"""
        chosen: list[Any] = []
        for index, lasts in self._order:
            value = values[index]
            if not index:
                value = self.moment(second, value)
            elif lasts and value != "null":
                value = self.lasting(float(value))
            chosen.append(value)
        return tuple(chosen)

    def moment(self, second: float, milliseconds: float) -> float | int:
        """The time as a number: of the whole second and what follows it, or of what follows it alone."""
        if self._whole == 1:
            return second + milliseconds * self._scale
        return int(second) * self._whole + int(milliseconds * self._scale)

    def lasting(self, seconds: float) -> str:
        """A duration, escaped."""
        written = duration(seconds, self._encoder)
        if isinstance(written, str):
            return encode_basestring_ascii(written)
        return f"{written:.6f}" if self._encoder == "seconds" else str(written)


def json_fields(config: AccessLog) -> tuple[str, ...]:
    """The fields of a JSON line where none are named."""
    more = ("headers",) * config.headers + ("query_params",) * bool(config.query) + ("trace_id", "span_id") * config.trace
    return JSON_FIELDS + more


def encoded_template(fields: tuple[str, ...], encoding: Encoding, logger: str) -> tuple[tuple[str, ...], str]:
    """The fields whose values a line needs, in their order, and its template. logger: the name that the line has"""
    keys = {"time": encoding.time_key, "level": encoding.level_key}
    order = [name for name in fields if keys.get(name, name)]
    if encoding.level_key and "level" not in order:
        order.insert(1 if order[:1] == ["time"] else 0, "level")
    parts: list[str] = []
    names: list[str] = []
    for name in order:
        conversion = _conversion(name, encoding)
        parts.append(f"{_key(keys.get(name, name))}:{conversion}")
        if "%" in conversion:
            names.append(name)
    after = 1 + max((order.index(name) for name in ("time", "level") if name in order), default=-1)
    more = ((encoding.name_key, logger), (encoding.message_key, "request"))
    parts[after:after] = [f"{_key(key)}:{_key(value)}" for key, value in more if key]
    return tuple(names), "{" + ",".join(parts) + "}" + encoding.line_ending


def _conversion(name: str, encoding: Encoding) -> str:
    if name == "time":
        return _TIMES[encoding.time_encoder][0]
    if name == "time_clf":
        return f'"{STAMP_CLF}"'
    return "%d" if name in _NUMBERS else "%s"


def _key(text: str) -> str:
    return encode_basestring_ascii(text).replace("%", "%%")
