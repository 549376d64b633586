"""Conditions of access logs, as they are written: ``status >= 500 or duration > 1s``. Read when the configuration is loaded.

    condition   one ("or" one)*
    one         part ("and" part)*
    part        "not" part | "(" condition ")" | FIELD [OPERATOR VALUE]
    OPERATOR    ==  !=  <  <=  >  >=        a text and a level of lines know the first two, a level the others too
    VALUE       a number; a duration (1s, 250ms); a size (64k); a level (warn); a text, in quotes if it has other characters than
                letters, digits and  . _ - / : * %

A field alone holds if it is neither 0 nor empty: ``error and not user``. A duration that a request does not have, such as
``upstream_time`` of one that no backend answered, is in no order: no comparison with it holds. Texts are compared octet by octet.
"""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

from . import quantities

__all__ = ["DURATIONS", "TEXTS", "All", "Any", "Condition", "Holds", "No", "read"]

NUMBERS = ("status", "tries")
SIZES = ("bytes_in", "bytes_out")
DURATIONS = ("duration", "upstream_time", "queue_time", "connect_time", "tls_time")
TEXTS = (
    "client",
    "peer",
    "method",
    "scheme",
    "host",
    "path",
    "service",
    "location",
    "upstream",
    "upstream_name",
    "error",
    "user",
    "termination_state",
)
LEVELS = {"info": 20, "warn": 30, "warning": 30, "error": 40}
_FIELDS = (*NUMBERS, *SIZES, *DURATIONS, *TEXTS, "level")
_WORDS = ("and", "or", "not")

_TOKEN = re.compile(
    r'\s*(?:(?P<operator>[<>=!]=?)|(?P<bracket>[()])|"(?P<text>[^"]*)"|\'(?P<other>[^\']*)\'|(?P<word>[\w.\-/:*%]+))'
)
_OPERATORS = ("==", "!=", "<", "<=", ">", ">=")
_DEPTH = 32  # brackets and `not` within each other


class Holds(NamedTuple):
    """A field and its comparison; operator "" = it is neither 0 nor empty."""

    field: str
    operator: str = ""
    value: float | str = ""


class All(NamedTuple):
    """All parts hold."""

    parts: tuple[Condition, ...]


class Any(NamedTuple):
    """A part holds."""

    parts: tuple[Condition, ...]


class No(NamedTuple):
    """The part does not hold."""

    part: Condition


Condition = Holds | All | Any | No


class _Token(NamedTuple):
    kind: str
    text: str
    place: int


def read(text: str) -> Condition:
    """The condition that a text says. ValueError, in words behind the key, if it is not valid."""
    reader = _Reader(_tokens(text), len(text))
    found = reader.condition(0)
    rest = reader.next
    if rest is not None:
        raise ValueError(f"has {rest.text!r} too many, at character {rest.place}; `and` or `or` may be missing before it")
    return found


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].lstrip()
            raise ValueError(
                f"has {rest[0]!r} at character {len(text) - len(rest) + 1}, where a field, an operator or a value may be"
            )
        kind = str(match.lastgroup)
        found.append(_Token("text" if kind == "other" else kind, match[kind], match.start(kind) + 1))
        at = match.end()
    return found


class _Reader:
    """Descends through the tokens."""

    def __init__(self, tokens: list[_Token], length: int) -> None:
        self._tokens = tokens
        self._at = 0
        self._end = length + 1

    @property
    def next(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, *texts: str) -> bool:
        """Pass the next token if it is one of these words or signs."""
        token = self.next
        if token is None or token.kind == "text" or token.text not in texts:
            return False
        self._at += 1
        return True

    def condition(self, depth: int) -> Condition:
        parts = [self._one(depth)]
        while self._take("or"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _one(self, depth: int) -> Condition:
        parts = [self._part(depth)]
        while self._take("and"):
            parts.append(self._part(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _part(self, depth: int) -> Condition:
        if depth > _DEPTH:
            raise ValueError(f"has more than {_DEPTH} brackets within each other")
        if self._take("not"):
            return No(self._part(depth + 1))
        if self._take("("):
            found = self.condition(depth + 1)
            if not self._take(")"):
                raise ValueError(f"lacks a `)` at character {self._place()}")
            return found
        return self._comparison()

    def _comparison(self) -> Holds:
        token = self.next
        if token is None or token.kind != "word" or token.text in _WORDS:
            raise ValueError(f"lacks a field at character {self._place()}")
        if token.text not in _FIELDS:
            near = difflib.get_close_matches(token.text, _FIELDS, 1, 0.6)
            known = f"did you mean `{near[0]}`?" if near else f"known fields are {', '.join(_FIELDS)}"
            raise ValueError(f"has the unknown field {token.text!r} at character {token.place}; {known}")
        self._at += 1
        sign = self.next
        if sign is None or sign.kind != "operator":
            if token.text == "level":
                raise ValueError(f"lacks an operator behind `level`, at character {self._place()}")
            return Holds(token.text)
        if sign.text not in _OPERATORS:
            raise ValueError(
                f"has the unknown operator `{sign.text}` at character {sign.place}; known ones are {', '.join(_OPERATORS)}"
            )
        self._at += 1
        value = self.next
        if value is None or value.kind not in ("word", "text") or (value.kind == "word" and value.text in _WORDS):
            raise ValueError(f"lacks a value at character {self._place()}")
        self._at += 1
        return Holds(token.text, sign.text, _value(token.text, sign.text, value))

    def _place(self) -> int:
        token = self.next
        return self._end if token is None else token.place


def _value(field: str, operator: str, token: _Token) -> float | str:
    where = f"at character {token.place}"
    if field == "level":
        if token.text not in LEVELS:
            raise ValueError(f"has the unknown level {token.text!r} {where}; there are info, warn and error")
        return LEVELS[token.text]
    if field in TEXTS:
        if operator not in ("==", "!="):
            raise ValueError(f"compares the text `{field}` with `{operator}` {where}: only == and != are for texts")
        return token.text
    try:
        if field in DURATIONS:
            return quantities.duration(token.text)
        if field in SIZES:
            return float(quantities.size(token.text))
        return float(int(token.text))
    except ValueError:
        what = "a duration, as in 250ms" if field in DURATIONS else "a size, as in 64k" if field in SIZES else "a whole number"
        raise ValueError(f"compares `{field}` with {token.text!r} {where}, which is not {what}") from None
