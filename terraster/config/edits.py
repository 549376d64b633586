"""Edits: changes of a configuration above its files, made while Terraster runs, as values. `terraster.config.edited` makes them.

An edit changes the document of one service, as the reader of YAML gives it, before anything is checked: so each check, default and message
is that of a file. Where a message would name a place in a file, it names the edit: "edit 7 by ann". An edit that has nothing to change
(its location is gone) is dormant: it does nothing, and is kept.

    kind                value
    backend.add         the backend, as in `backends[]`
    backend.remove
    backend.set         keys of the backend
    location.set        `lb_policy`, and `max_connections`, which is that of each backend that the location has then
    location.add        the location, as in `locations[]`
    location.replace    the same
    location.remove

Pure. Moments are time.time(); 0 = for good.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import addresses, header_rules
from .telling import masked

__all__ = [
    "CONFLICT",
    "KINDS",
    "LOCATION_KINDS",
    "UNKNOWN",
    "Dormant",
    "Edit",
    "compacted",
    "from_json",
    "same_url",
    "to_json",
    "value_of",
]

ADD, REMOVE, SET = "backend.add", "backend.remove", "backend.set"
LOCATION_SET, LOCATION_ADD, LOCATION_REPLACE, LOCATION_REMOVE = (
    "location.set",
    "location.add",
    "location.replace",
    "location.remove",
)
LOCATION_KINDS = (LOCATION_ADD, LOCATION_REPLACE, LOCATION_REMOVE)
KINDS = (ADD, REMOVE, SET, LOCATION_SET, *LOCATION_KINDS)

UNKNOWN, CONFLICT = "unknown", "conflict"

TEXT = 500  # characters of a reason, or of an operator's name
_END = 1e12
_LARGEST = 256 * 1024  # octets of a value as JSON
_DEEPEST = 50
_VARIABLE = re.compile(r"\$\$|\$\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Edit:
    """One change. ``location``: the label of a location, or of an arm; ``url``: of `backend.…`; ``value``: a document, see the module."""

    number: int
    kind: str
    service: str
    location: str
    url: str = ""
    value: str = "{}"  # JSON, so that it cannot be changed
    by: str = ""
    reason: str = ""
    when: float = 0.0
    until: float = 0.0

    @property
    def label(self) -> str:
        """The edit in messages, where a file and a line would be."""
        return f"edit {self.number} by {self.by or 'an operator'}"

    @property
    def document(self) -> dict[str, Any]:
        """Its value."""
        found: dict[str, Any] = json.loads(self.value)
        return found

    @property
    def words(self) -> str:
        """Its effect, in words."""
        place = f"{self.service}{self.location}"
        keys = ", ".join(f"{key} {_short(value)}" for key, value in masked(self.document).items())
        match self.kind:
            case "backend.add":
                return f"backend {self.url} added to {place}"
            case "backend.remove":
                return f"backend {self.url} removed from {place}"
            case "backend.set":
                return f"backend {self.url} of {place}: {keys}"
            case "location.set":
                return f"location {place}: {keys}"
            case "location.add":
                return f"location {place} added"
            case "location.replace":
                return f"location {place} replaced"
            case _:
                return f"location {place} removed"

    def holds(self, now: float) -> bool:
        """True if its time is not over."""
        return not 0 < self.until <= now


@dataclass(frozen=True, slots=True)
class Dormant:
    """Why an edit does nothing. ``code``: UNKNOWN, CONFLICT, or "invalid"."""

    code: str
    words: str


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


# As JSON.


def to_json(edit: Edit) -> dict[str, Any]:
    """An edit as it is kept, and as programs read it."""
    return {
        "number": edit.number,
        "kind": edit.kind,
        "service": edit.service,
        "location": edit.location,
        "url": edit.url,
        "value": edit.document,
        "by": edit.by,
        "reason": edit.reason,
        "when": edit.when,
        "until": edit.until,
    }


def from_json(found: Any) -> Edit:
    """The edit that was kept. Raises ValueError."""
    if not isinstance(found, dict) or found.get("kind") not in KINDS or not isinstance(found.get("value"), dict):
        raise ValueError("an edit has not the form of an edit")
    number = found.get("number")
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError("the number of an edit is not a number")
    words = {name: found.get(name) for name in ("service", "location", "url", "by", "reason")}
    texts = {name: word for name, word in words.items() if isinstance(word, str) and word.isprintable()}
    if len(texts) < len(words):
        raise ValueError("an edit has not the form of an edit")
    return Edit(
        number=number,
        kind=found["kind"],
        value=json.dumps(found["value"]),
        when=_moment(found.get("when")),
        until=_moment(found.get("until")),
        **texts,
    )


def _moment(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _END:
        raise ValueError("a moment is not a number")
    return float(value)


def value_of(document: Any) -> str:
    """The value of an edit from a document of a program. Raises ValueError."""
    if not isinstance(document, dict):
        raise ValueError("the value of an edit must be a mapping of keys")
    _look(document, 0, "")
    text = json.dumps(document)
    if len(text) > _LARGEST:
        raise ValueError(f"the value of an edit is longer than {_LARGEST >> 10} KiB")
    return text


def _look(value: Any, depth: int, key: str) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"the value of an edit is nested more than {_DEEPEST} levels deep")
    if value is None:
        raise ValueError(f"`{key}` has no value" if key else "a value is missing in the edit")
    if isinstance(value, dict):
        for name, item in value.items():
            _look(item, depth + 1, str(name))
    elif isinstance(value, list):
        for item in value:
            _look(item, depth + 1, key)
    elif isinstance(value, str):
        for match in _VARIABLE.finditer(value):
            if key != "format" and match[1] is not None and not header_rules.is_variable(match[1]):
                raise ValueError(f"`{match[0]}`: an edit cannot name environment variables; write the value, or edit the file")


# A sequence of edits.


def compacted(edits: Sequence[Edit], new: Edit, dormant: Mapping[int, Dormant]) -> tuple[Edit, ...]:
    """The edits after another one. Those that it makes meaningless are left out, itself too if it only takes back others. An edit with an
    end replaces none: they hold again after it.

    dormant: those that do nothing now, by number
    """
    if new.until:
        return (*edits, new)
    left: list[Edit] = []
    added: Edit | None = None
    for one in edits:
        if _is_about(one, new):
            if one.kind in (ADD, LOCATION_ADD) and new.kind not in (SET, LOCATION_SET, ADD):
                added = one if one.number not in dormant else added
                continue
            kept = _without(one, new)
            if kept is None:
                continue
            one = kept
        left.append(one)
    if new.kind in (REMOVE, LOCATION_REMOVE) and added is not None:
        return tuple(left)
    if new.kind == LOCATION_REPLACE and added is not None:
        new = replace(new, kind=LOCATION_ADD)
    return (*left, new)


def _is_about(one: Edit, new: Edit) -> bool:
    """True if an edit is about what a new one is about, or about a part of it."""
    if one.service != new.service:
        return False
    if new.kind in (ADD, REMOVE, SET):
        return one.location == new.location and same_url(one.url, new.url) and one.kind in (ADD, REMOVE, SET)
    if new.kind == LOCATION_SET:
        return one.kind == LOCATION_SET and one.location == new.location
    if new.kind == LOCATION_ADD:
        return False
    return one.location == new.location or one.location.startswith(f"{new.location}#")


def _without(one: Edit, new: Edit) -> Edit | None:
    """The rest of an edit when a new one follows; None: nothing."""
    if new.kind in (SET, LOCATION_SET) and one.kind == new.kind:
        rest = {key: value for key, value in one.document.items() if key not in new.document}
        return replace(one, value=json.dumps(rest)) if rest else None
    if new.kind == REMOVE:
        return one if one.kind == REMOVE else None
    if new.kind in (LOCATION_REPLACE, LOCATION_REMOVE):
        return one if one.kind == LOCATION_REMOVE else None
    return one


def same_url(one: str, other: str) -> bool:
    """True if two URLs are the same backend."""
    return one == other or _key(one) == _key(other)


def _key(text: object) -> object:
    try:
        url = addresses.url(text)
    except ValueError:
        return text
    return url.scheme, url.host, url.port, url.base_path, url.srv, url.socket
