"""A row of the audit log: what it says, how it is written, and its place in the chain.

    seq         its number, from 1
    when        time.time()
    user role how address   who did it. how: "socket" (terrasterctl), "session", "token", "signal", "file"
                (terrasterctl, while Terraster did not run), "Terraster"
    action target           what was done to what: "backend.drain" and the backend's id, "reload" and ""
    before after            what it was and what it became, JSON values; null: nothing is known
    reason      of the operator
    generation  the configuration that runs afterwards, null: the action has none
    outcome     one of `OUTCOMES`
    detail      why it was refused, failed, or is unknown
    request_id  of the request that asked for it
    prev        `hash` of the row before, or `ROOT`
    hash        SHA-256 of the row without this field, in hexadecimal digits

A row is one line: JSON with sorted keys and without spaces. So each row has exactly one spelling, and any change of an octet shows.

Pure.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from terraster.logs.sanitizer import Sanitizer

__all__ = ["FACTS", "MASK", "OUTCOMES", "ROOT", "Facts", "Row", "made", "parsed", "plain", "prepared", "written"]

Row = dict[str, Any]
Facts = dict[str, Any]

ROOT = "0" * 64
"""`prev` of the first row."""

DONE, REFUSED, FAILED, UNKNOWN = OUTCOMES = ("done", "refused", "failed", "unknown")
"""unknown: the process that carried it out was killed before it could tell."""

MASK = "***"

_TEXTS = ("user", "role", "how", "address", "action", "target", "reason", "outcome", "detail", "request_id")
FACTS: tuple[str, ...] = (*_TEXTS, "before", "after", "generation")
"""The fields that a caller gives; the rest follows."""

_KEYS = frozenset((*FACTS, "seq", "when", "prev", "hash"))
_TEXT = 1000  # characters of a text that are kept
_ITEMS = 100  # of a list or an object
_DEPTH = 6
_VALUE = 16_384  # octets of `before` or `after`

_SECRET = re.compile(r"pass(word|wd|phrase)?$|secret|token|api[_-]?key|private|credential|authorization|cookie|jwt", re.IGNORECASE)
"""Keys whose values are never kept."""

_SANITIZER = Sanitizer(("password", "passwd", "secret", "token", "access_token", "refresh_token", "api_key", "jwt_secret"), MASK)


def prepared(facts: Mapping[str, Any]) -> Facts:
    """The facts as a row may have them: without secrets, of bounded size, and with nothing that a terminal would obey."""
    found: Facts = {name: plain(facts.get(name) or "") for name in _TEXTS}
    found["generation"] = facts.get("generation")
    for name in ("before", "after"):
        value = _value(facts.get(name), _DEPTH)
        length = len(json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace"))
        found[name] = value if length <= _VALUE else {"too_long": length}
    return found


def made(facts: Facts, seq: int, when: float, prev: str) -> Row:
    """The row after the one whose hash is ``prev``. facts: as `prepared` returns them"""
    row = {**facts, "seq": seq, "when": round(when, 3), "prev": prev}
    return {**row, "hash": hashlib.sha256(_spelt(row)).hexdigest()}


def written(row: Row) -> bytes:
    """The row as its line, with the newline."""
    return _spelt(row) + b"\n"


def parsed(line: bytes) -> Row:
    """The row that a line has, without its newline. Raises ValueError if it is not the one spelling of a row whose hash is right."""
    row = json.loads(line)
    if not isinstance(row, dict) or row.keys() != _KEYS:
        raise ValueError("it is not a row")
    if _spelt(row) != line:
        raise ValueError("it is not spelt as Terraster spells it")
    rest = {name: value for name, value in row.items() if name != "hash"}
    if hashlib.sha256(_spelt(rest)).hexdigest() != row["hash"]:
        raise ValueError("its hash does not fit its text: the row was changed")
    if not isinstance(row["seq"], int) or not isinstance(row["when"], int | float):
        raise ValueError("it is not a row")
    return row


def _spelt(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def plain(text: str) -> str:
    """A text as it may be kept: at most `_TEXT` characters, without secrets, and with nothing that a terminal would obey."""
    kept = _SANITIZER.text(_SANITIZER.uri(str(text)[: 4 * _TEXT]))[:_TEXT]
    return "".join(char if char.isprintable() else " " for char in kept)


def _value(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) < 1e300 else None  # JSON has no infinity, and nan is not less
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, str):
        return plain(value)
    if depth and isinstance(value, Mapping):
        several = list(value.items())[:_ITEMS]
        return {
            plain(str(key)): MASK if _SECRET.search(str(key)) and one not in (None, "") else _value(one, depth - 1)
            for key, one in several
        }
    if depth and isinstance(value, list | tuple):
        return [_value(one, depth - 1) for one in value[:_ITEMS]]
    return plain(str(type(value).__name__))
