"""`terrasterctl top`: the locations and backends with most to do now, again and again."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from typing import Any

from .asking import api
from .control import DONE, Control
from .output import colourful, width
from .phrases import many, milliseconds
from .table import BOLD, DIM, RED, Cell, lay_out, short

__all__ = ["add_command", "shown", "top"]

_SORTS = ("requests", "errors", "p50", "p95", "p99", "active", "open")
_ROWS = 50  # where there is no terminal
_BREATH = 0.1  # seconds between two tables, beside the seconds over which is counted
_AROUND = 4  # lines of the screen that are not rows


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    command = commands.add_parser(
        "top", parents=[shared], help="show live requests per second, errors, times and connections; the busiest locations first"
    )
    command.add_argument("--sort", choices=_SORTS, default="requests", help="the column with the most at the top")
    command.add_argument("--once", action="store_true", help="show one table, and end")
    command.add_argument("--seconds", metavar="N", type=int, default=1, help="count over so many seconds, 1 to 10 (default: 1)")


def top(control: Control, arguments: argparse.Namespace) -> int:
    """The command `top`: one table. `terraster.cli.watching` runs it again and again."""
    screen = shutil.get_terminal_size().lines if sys.stdout.isatty() else 0
    limit = max(1, screen - _AROUND) if screen else _ROWS
    found = api(control, "GET", f"/api/top?seconds={arguments.seconds}&sort={arguments.sort}&limit={limit}")
    if arguments.json:
        print(json.dumps({"ok": True, **found}, indent=2))
    else:
        print(shown(found, arguments.sort, colour=colourful(), width=width()), end="")
    return DONE


def prepared(arguments: argparse.Namespace) -> argparse.Namespace:
    """The arguments with the pause between two tables."""
    arguments.watch_seconds = 0.0 if arguments.once else _BREATH
    return arguments


def shown(document: dict[str, Any], sort: str, *, colour: bool, width: int) -> str:
    """The table for people, not wider than ``width``."""
    total = document["total"]
    rate, errors = total["requests_per_second"], total["errors_per_second"]
    head = (
        f"{_rate(rate)} requests/s, {_rate(errors)} errors/s, {total['active']} active, {many(total['open'], 'backend connection')}"
    )
    heads = ("REQ/S", "ERR/S", "P50", "P95", "P99", "ACTIVE", "OPEN")
    names = ("requests_per_second", "errors_per_second", "p50", "p95", "p99", "active", "open")
    marked = [
        word if name != {"requests": names[0], "errors": names[1]}.get(sort, sort) else f"{word}*"
        for word, name in zip(heads, names, strict=True)
    ]
    rows = [[Cell("SERVICE, BACKENDS", DIM), *(Cell(word, DIM) for word in marked)]]
    for one in document["rows"]:
        bad = one["errors_per_second"] > 0
        figures = (
            [_rate(one[name]) for name in names[:2]]
            + [milliseconds(one[name]) for name in names[2:5]]
            + [str(one[name]) for name in names[5:]]
        )
        place = f"  {one['url']}" if one["url"] is not None else f"{one['service_name']}{one['path']}"
        cells = [Cell(place, "" if one["url"] is not None else BOLD)]
        rows.append([*cells, *(Cell(text, RED if at == 1 and bad else "") for at, text in enumerate(figures))])
    room = width - sum(2 + max(len(row[at]) for row in rows) for at in range(1, len(heads) + 1))
    for row in rows:
        row[0] = Cell(short(row[0], max(12, room), max(12, room) // 2), row[0].colour)
    table = lay_out(rows, colour)
    return f"{short(head, width, 0)}\n{table}" + (f"{document['more']} more rows\n" if document["more"] else "")


def _rate(value: float) -> str:
    if value >= 99_950:
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"
