"""The actions of operators on one backend, as they are kept: actions, their result (`Entry`), and both as JSON.

An action with an end lies above the ones before. When it ends, those hold again, for the rest of their own time. An action without an end
replaces all before it, as do "enable" and "the weight of the file".

Pure. Moments are time.time(); 0 = for good, or never.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = [
    "DRAIN",
    "CHECKS",
    "ENABLE",
    "EXPIRED",
    "FORCED_DOWN",
    "FORCED_UP",
    "FORCES",
    "HISTORY",
    "LEVELS",
    "LEVEL_OF_FILE",
    "LOG",
    "MAINTENANCE",
    "MOST_WEIGHT",
    "PAUSED_DOWN",
    "PAUSED_UP",
    "TEXT",
    "WEIGHT",
    "WEIGHT_OF_FILE",
    "Entry",
    "Action",
    "parsed",
    "written",
]

HISTORY = 20  # actions that are kept for each backend
MOST_WEIGHT = 1_000_000
TEXT = 500  # characters of a reason, or of an operator's name

DRAIN, MAINTENANCE, ENABLE, WEIGHT, WEIGHT_OF_FILE, EXPIRED = "drain", "maintenance", "enable", "weight", "weight file", "expired"
FORCED_UP, FORCED_DOWN, PAUSED_UP, PAUSED_DOWN, CHECKS = "forced up", "forced down", "paused up", "paused down", "checks"
FORCES = (FORCED_UP, FORCED_DOWN, PAUSED_UP, PAUSED_DOWN)
"""Above the health checks of a backend. A pause has the verdict that stands, because the next start must know it. `CHECKS` ends all."""
LEVELS = tuple(f"level {name}" for name in ("debug", "info", "warning", "error", "critical"))
LEVEL_OF_FILE = "level of the file"
"""The least of the program's log, kept under `LOG`, where a backend has its forced state. `LEVEL_OF_FILE` ends all."""
LOG = "log level"

_VERSION = 1
_DEPTH = 8  # actions that lie below another
_END = 1e12  # seconds: no moment is later


@dataclass(frozen=True, slots=True)
class Action:
    """One action of an operator on a backend, or (`EXPIRED`) its end. ``weight``: of `WEIGHT` only, else -1."""

    what: str
    when: float
    by: str = ""
    reason: str = ""
    until: float = 0.0
    weight: int = -1


@dataclass(frozen=True, slots=True)
class Entry:
    """All overrides of one backend.

    forced: in place of its health checks
    under_order, under_weight, under_forced: the actions that hold again when ``order``, ``weight`` or ``forced`` ends, the next one last
    gone:   since when no such backend is configured, 0 = it is
    """

    order: Action | None = None
    weight: Action | None = None
    history: tuple[Action, ...] = ()
    gone: float = 0.0
    under_order: tuple[Action, ...] = ()
    under_weight: tuple[Action, ...] = ()
    forced: Action | None = None
    under_forced: tuple[Action, ...] = ()

    def after(self, action: Action) -> Entry:
        """The entry after another action."""
        entry = replace(self, history=(*self.history, action)[-HISTORY:])
        if action.what in (DRAIN, MAINTENANCE):
            return replace(entry, order=_prolonged(action, self.order), under_order=_below(action, self.under_order, self.order))
        if action.what == WEIGHT:
            return replace(
                entry, weight=_prolonged(action, self.weight), under_weight=_below(action, self.under_weight, self.weight)
            )
        if action.what in FORCES or action.what in LEVELS:
            return replace(
                entry, forced=_prolonged(action, self.forced), under_forced=_below(action, self.under_forced, self.forced)
            )
        if action.what in (CHECKS, LEVEL_OF_FILE):
            return replace(entry, forced=None, under_forced=())
        if action.what == ENABLE:
            return replace(entry, order=None, under_order=())
        if action.what == WEIGHT_OF_FILE:
            return replace(entry, weight=None, under_weight=())
        return entry

    def ended(self, now: float) -> Entry:
        """The rest of it at a moment."""
        order, under_order, ends = _left(self.order, self.under_order, now)
        weight, under_weight, more = _left(self.weight, self.under_weight, now)
        forced, under_forced, others = _left(self.forced, self.under_forced, now)
        if not ends and not more and not others:
            return self
        history = (*self.history, *sorted((*ends, *more, *others), key=lambda action: action.when))[-HISTORY:]
        return Entry(order, weight, history, self.gone, under_order, under_weight, forced, under_forced)


def _prolonged(action: Action, top: Action | None) -> Action:
    """An action as it is kept. The same action with another end keeps its start, and its operator and reason unless it has a reason."""
    if not action.until or top is None or not _is_same(top, action) or 0 < top.until <= action.when:
        return action
    return replace(action, when=top.when) if action.reason else replace(top, until=action.until)


def _below(action: Action, under: tuple[Action, ...], top: Action | None) -> tuple[Action, ...]:
    """The actions below a new one: those that last longer. The same action with another end replaces the earlier one."""
    if not action.until or top is None:
        return ()
    kept = [one for one in (*under, top) if not one.until or (one.until > action.until and not _is_same(one, action))]
    return tuple(kept[:1] + kept[1:][-(_DEPTH - 1) :])


def _is_same(one: Action, other: Action) -> bool:
    return (one.what, one.weight) == (other.what, other.weight)


def _left(top: Action | None, under: tuple[Action, ...], now: float) -> tuple[Action | None, tuple[Action, ...], list[Action]]:
    """The action that holds at a moment, those below it, and the ends until then."""
    ends = []
    while top is not None and 0 < top.until <= now:
        ends.append(Action(EXPIRED, top.until, "Terraster", f"the time of {top.what} was over", weight=top.weight))
        top, under = (under[-1], under[:-1]) if under else (None, ())
    return top, under, ends


def written(entries: Mapping[str, Entry]) -> bytes:
    """Entries as the content of a file."""
    return json.dumps(
        {"version": _VERSION, "backends": {name: asdict(entries[name]) for name in sorted(entries)}}, indent=1
    ).encode()


def parsed(text: bytes) -> tuple[dict[str, Entry], dict[str, str]]:
    """The entries that a file holds, and the reasons why others cannot be used. Raises ValueError, RecursionError."""
    root = json.loads(text)
    if not isinstance(root, dict) or root.get("version") != _VERSION or not isinstance(root.get("backends"), dict):
        raise ValueError(f"its format is not version {_VERSION}")
    entries, bad = {}, {}
    for name, value in root["backends"].items():
        try:
            name.encode()
            entries[name] = _entry(value)
        except ValueError as error:
            bad[name] = str(error)
    return entries, bad


def _entry(value: Any) -> Entry:
    if not isinstance(value, dict):
        raise ValueError("an entry has not the form of an entry")
    order, weight, forced = (None if value.get(name) is None else _action(value[name]) for name in ("order", "weight", "forced"))
    history, under_order, under_weight, under_forced = (
        _actions(value.get(name, [])) for name in ("history", "under_order", "under_weight", "under_forced")
    )
    orders = under_order if order is None else (*under_order, order)
    weights = under_weight if weight is None else (*under_weight, weight)
    if any(action.what not in (DRAIN, MAINTENANCE) for action in orders) or any(action.weight < 0 for action in weights):
        raise ValueError("an entry has not the form of an entry")
    if forced is not None and any(action.what not in (*FORCES, *LEVELS) for action in (*under_forced, forced)):
        raise ValueError("an entry has not the form of an entry")
    return Entry(
        order,
        weight,
        history[-HISTORY:],
        _number(value.get("gone", 0.0)),
        under_order[-_DEPTH:] if order else (),
        under_weight[-_DEPTH:] if weight else (),
        forced,
        under_forced[-_DEPTH:] if forced else (),
    )


def _actions(value: Any) -> tuple[Action, ...]:
    if not isinstance(value, list):
        raise ValueError("a list has not the form of a list")
    return tuple(_action(action) for action in value)


def _action(value: Any) -> Action:
    if not isinstance(value, dict) or not all(_is_text(value.get(name)) for name in ("what", "by", "reason")):
        raise ValueError("an action has not the form of an action")
    weight = value.get("weight", -1)
    if isinstance(weight, bool) or not isinstance(weight, int) or not -1 <= weight <= MOST_WEIGHT:
        raise ValueError(f"a weight is not a whole number up to {MOST_WEIGHT}")
    return Action(value["what"], _number(value.get("when")), value["by"], value["reason"], _number(value.get("until", 0.0)), weight)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= TEXT and value.isprintable()


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _END:
        raise ValueError("a moment is not a number")
    return float(value)
