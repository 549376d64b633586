"""`terrasterctl slo`: the objectives of locations, how fast their budgets burn, and what is left of them."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any
from urllib.parse import urlencode

from terraster.config import quantities

from .asking import api
from .control import DONE, Control
from .output import colourful, width
from .table import BOLD, DIM, GREEN, RED, Cell, lay_out, sentence, short

__all__ = ["add_command", "slo"]

_PART = 500
_WINDOWS = ("1h", "6h", "3d")
_WORST = {"page": 0, "ticket": 1, "": 2}
_NARROW = 62  # columns beside the location


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    parser = commands.add_parser(
        "slo", parents=[shared], help="show objectives: how fast their error budgets burn, and what is left"
    )
    parser.add_argument("service", metavar="SERVICE", nargs="?", default="", help="only those of this service")


def slo(control: Control, arguments: argparse.Namespace) -> int:
    """The command `slo`."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        query = {"limit": str(_PART), "service_name": arguments.service, "cursor": cursor}
        answer = api(control, "GET", f"/api/slo?{urlencode({key: value for key, value in query.items() if value})}")
        found += ({"service": one.pop("service_name"), "location": one.pop("path"), **one} for one in answer["items"])
        cursor = answer["next"]
        if not cursor:
            break
    if arguments.json:
        print(json.dumps({"ok": True, "now": time.time(), "objectives": found}, indent=2))
    else:
        print(shown(found, colour=colourful(), width=width()), end="")
    return DONE


def shown(objectives: list[dict[str, Any]], *, colour: bool, width: int) -> str:
    """The text for people: those that burn come first, each with a sentence."""
    if not objectives:
        return "no location has objectives (`slo`)\n"
    rows = [[Cell(word, DIM) for word in ("LOCATION", "OBJECTIVE", "BUDGET", "BURN 1h", "6h", "3d", "STATE")]]
    room = max(12, width - _NARROW)
    for one in sorted(objectives, key=_order):
        severity = _severity(one)
        rows.append(
            [
                Cell(short(f"{one['service']}{one['location']}", room, room // 2)),
                Cell(_objective(one)),
                Cell(_left(one), RED if one["budget_left"] <= 0 else ""),
                *(Cell(_rate(one["burn_rates"].get(name))) for name in _WINDOWS),
                _state(severity, one["budget_left"]),
            ]
        )
    for one in sorted(objectives, key=_order):
        if one["burning"]:
            place, colour_of = f"{one['service']}{one['location']}", RED if _severity(one) == "page" else ""
            rows += sentence(place, one["burning"]["text"], width, colour_of)
    return lay_out(rows, colour)


def _state(severity: str, budget_left: float) -> Cell:
    if severity:
        return Cell(severity.upper(), RED if severity == "page" else BOLD)
    return Cell("ok", GREEN) if budget_left > 0 else Cell("spent", BOLD)


def _order(one: dict[str, Any]) -> tuple[int, float]:
    return _WORST[_severity(one)], one["budget_left"]


def _severity(one: dict[str, Any]) -> str:
    return one["burning"]["severity"] if one["burning"] else ""


def _objective(one: dict[str, Any]) -> str:
    if one["bound"] is None:
        return f"availability {one['percent']:g}%"
    return f"latency {one['percent']:g}% {quantities.shown(one['bound'], quantities.SECONDS)}"


def _left(one: dict[str, Any]) -> str:
    left = 100 * one["budget_left"]
    return f"{left:.0f}%" if left >= 1 or not left else f"{left:.1f}%"


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1f}" if rate < 1000 else f"{rate:.0f}"
