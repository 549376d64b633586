"""`terrasterctl requests`, `failures` and `tail`: requests that are open, those that came to a bad end, and, live, all that are over.

The first two ask once, or again and again with `--watch`. A tail goes on until it is interrupted: over a reload, an upgrade, and a worker or
an admin worker that is replaced.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
import time
from typing import Any
from urllib.parse import urlencode

from ..config.quantities import duration
from .control import DONE, Away, Control, Refused
from .output import colourful, width
from .phrases import age, count, many, milliseconds, moment
from .table import BOLD, DIM, PLAIN, RED, Cell, lay_out, short

__all__ = ["COMMANDS", "add_commands", "failures_shown", "line", "requests_shown"]

_LOOK = 2.0  # seconds between two looks of `--watch`
_CLEAR = "\x1b[H\x1b[2J"
_LEAST = 20  # characters that a request has, however narrow the terminal is


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the commands to those of terrasterctl. shared: the options of all commands."""

    def command(name: str, help: str) -> Any:
        made = commands.add_parser(name, parents=[shared], help=help)
        made.add_argument("--service", metavar="SERVICE", default="", help="only those of this service")
        return made

    requests = command("requests", "show the requests that are open now: who, where, and for how long")
    requests.add_argument("--backend", metavar="BACKEND", default="", help="only those at this backend, by its URL or name")
    requests.add_argument("--older", metavar="TIME", type=_time, default=0.0, help="only those that are open for so long (10s, 2m)")
    failures = command("failures", "show the last requests that were refused or failed, with the reasons")
    failures.add_argument("--kind", choices=("refused", "failed", "aborted"), default="", help="only those of this kind")
    tail = command("tail", "show each request when it is over, of all workers, until Ctrl-C")
    for one in (failures, tail):
        one.add_argument("--status", metavar="STATUS", default="", help="only those with this status: 503, or 5xx")
    tail.add_argument("--path", metavar="PATH", default="", help="only those whose path begins so")
    for one, default in ((requests, 50), (failures, 20)):
        one.add_argument("--limit", metavar="N", type=int, default=default, help=f"how many (default: {default})")
        one.add_argument("--watch", action="store_true", help="go on until Ctrl-C")


def _time(text: str) -> float:
    try:
        return duration(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a time span such as 10s or 2m") from None


def _requests(control: Control, arguments: argparse.Namespace) -> int:
    words = {"backend": arguments.backend, "older": repr(arguments.older), "limit": str(arguments.limit)}
    while True:
        document = _asked(control, "/api/requests", arguments.service, words)
        if arguments.json:
            print(json.dumps(document, indent=None if arguments.watch else 2), flush=True)
        else:
            clear = _CLEAR if arguments.watch and sys.stdout.isatty() else ""
            print(clear + requests_shown(document, colour=colourful(), width=width()), end="", flush=True)
        if not arguments.watch:
            return DONE
        control = _later(control, arguments)


def _failures(control: Control, arguments: argparse.Namespace) -> int:
    words = {"kind": arguments.kind, "status": arguments.status, "limit": str(arguments.limit)}
    document = _asked(control, "/api/failures", arguments.service, words)
    if arguments.json and not arguments.watch:
        print(json.dumps(document, indent=2))
        return DONE
    _print(document, document["failures"][::-1], arguments)
    seen = {_identity(one) for one in document["failures"]}
    silent = document["silent"]
    words["limit"] = "1000"
    while arguments.watch:
        control = _later(control, arguments)
        document = _asked(control, "/api/failures", arguments.service, words)
        fresh = [one for one in document["failures"][::-1] if _identity(one) not in seen]
        seen = {_identity(one) for one in document["failures"]}
        if fresh or document["silent"] != silent:
            silent = document["silent"]
            _print(document, fresh, arguments)
    return DONE


def _print(document: dict[str, Any], rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    if arguments.json:
        for one in rows:
            print(json.dumps(one), flush=True)
    else:
        shown = {**document, "failures": rows}
        print(failures_shown(shown, time.time(), colour=colourful(), width=width()), end="", flush=True)


def _tail(control: Control, arguments: argparse.Namespace) -> int:
    words = {"status": arguments.status, "path": arguments.path}
    cut = width() if sys.stdout.isatty() or "COLUMNS" in os.environ else 0
    while True:
        control.ask("GET", "/healthz")  # waits for an admin worker that has just been replaced
        try:
            for name, data in control.follow("/api/tail?" + urlencode({"service_name": arguments.service, **words})):
                _follow(name, data, arguments.json, cut)
            why = "the stream ended"
        except Away as away:
            why = str(away)
        print(f"terrasterctl: {why}; asking again", file=sys.stderr)
        control = _later(control, arguments)


def _follow(name: str, data: Any, as_json: bool, cut: int) -> None:
    """Print an event of a tail. All but requests go to standard error, so that they are never taken for one."""
    if name == "request":
        print(json.dumps(data) if as_json else line(data, colour=colourful(), width=cut), flush=True)
    elif name == "lost":
        print(f"terrasterctl: {many(data['lines'], 'line')} lost: too many at once", file=sys.stderr)
    elif name == "failure":
        print(f"terrasterctl: {data['detail']}", file=sys.stderr)
    elif name == "workers":
        for words in _silent(data["silent"], "its requests are missing"):
            print(f"terrasterctl: {words}", file=sys.stderr)


def _asked(control: Control, path: str, service: str, words: dict[str, str]) -> dict[str, Any]:
    control.ask("GET", "/healthz")
    try:
        status, value = control.exchange("GET", f"{path}?{urlencode({'service_name': service, **words})}", None, {})
    except Away as away:
        raise Refused(f"the admin worker ended before it answered: {away}") from None
    if status != 200:
        errors = [f"{one['pointer'].lstrip('/')}: {one['detail']}" for one in value.get("errors", ())]
        raise Refused("; ".join([value["detail"], *errors]))
    return {"ok": True, "now": time.time(), **value}


def _later(control: Control, arguments: argparse.Namespace) -> Control:
    time.sleep(_LOOK)
    return control.again(arguments.timeout)  # the time is for one question


def _identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["request_id"], row["when"], row["worker"]


def requests_shown(document: dict[str, Any], *, colour: bool, width: int) -> str:
    """The answer of `/api/requests` as a table that fits the terminal."""
    rows = document["requests"]
    silent = [[Cell(words, RED)] for words in _silent(document["silent"], "its requests are missing here")]
    if not rows:
        return lay_out([*silent, [Cell("no request is open" if not silent else "no other request is open")]], colour)
    client, backend = (15, 22) if width < 120 else (39, 40)
    names = ("AGE", "PHASE", "CLIENT", "BACKEND", *(("IN", "OUT") if width >= 100 else ()), "REQUEST")
    table = [[Cell(name, BOLD) for name in names]]
    for one in rows:
        row = [
            age(one["age"]) if one["age"] >= 10 else milliseconds(one["age"]),
            one["phase"],
            short(one["client"], client, 5),
            short(one["backend"].removeprefix("http://") or "-", backend, 8),
        ]
        row += [count(one["bytes_in"]), count(one["bytes_out"])] if width >= 100 else []
        table.append([Cell(text) for text in row])
    taken = sum(max(len(row[at]) for row in table) + 2 for at in range(len(names) - 1))
    for row, one in zip(table[1:], rows, strict=True):
        row.append(Cell(short(_request(one), max(_LEAST, width - taken), 8)))
    others = document["open"] - len(rows)
    last = [[Cell(f"and {many(others, 'other')}, open for less time", DIM)]] if others > 0 else []
    return lay_out([*silent, *table, *last], colour)


def failures_shown(document: dict[str, Any], now: float, *, colour: bool, width: int) -> str:
    """The answer of `/api/failures` for people: a line for each, and what is known beside it."""
    found = [
        f"{RED if colour else ''}{words}{PLAIN if colour else ''}"
        for words in _silent(document["silent"], "its requests are missing")
    ]
    for one in document["failures"]:
        head = f"{moment(one['when'], now)}  {one['status']}  {one['reason'] or one['kind']}  "
        request = short(_request(one), max(_LEAST, width - len(head)), 12)
        found.append(f"{BOLD}{head}{PLAIN}{request}" if colour else head + request)
        place = f"{one['service']}{one['location']}" if one["service"] else "no service"
        words = [f"{one['client']}, {place}"]
        words += [f"{one['backend']} ({many(one['tries'], 'attempt')})"] if one["backend"] else []
        words += [milliseconds(one["duration"]), f"request {one['request_id']}"]
        for text in (", ".join(words), one["detail"]):
            found += textwrap.wrap(
                text, width, initial_indent="    ", subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
            )
    return "".join(f"{text}\n" for text in found or ["no request was refused, failed or was left by its client lately"])


def line(row: dict[str, Any], *, colour: bool, width: int) -> str:
    """A request that is over, in one line. width: of the terminal, 0: as long as it needs"""
    clock = time.strftime("%H:%M:%S", time.localtime(row["when"])) + f".{int(row['when'] * 1000) % 1000:03d}"
    head = f"{clock} {row['status']} {milliseconds(row['duration']):>7} "
    tail = "".join(f" {word}" for word in (row["client"], row["backend"].removeprefix("http://"), row["reason"]) if word)
    request = _request(row)
    if width:
        room = max(_LEAST, width - len(head) - len(tail))
        request = short(request, room, 8)
        tail = tail[: max(0, width - len(head) - len(request))]
    if colour and row["status"] >= 400:
        return f"{RED if row['status'] >= 500 else BOLD}{head}{PLAIN}{request}{DIM}{tail}{PLAIN}"
    return f"{head}{request}{DIM}{tail}{PLAIN}" if colour else head + request + tail


def _request(row: dict[str, Any]) -> str:
    host = "" if row["path"].startswith(("http://", "https://")) else row["host"]
    return f"{row['method']} {host}{row['path']}"


def _silent(pids: list[int], what: str) -> list[str]:
    return [f"worker {pid} does not answer: {what}" for pid in pids]


COMMANDS = {"requests": _requests, "failures": _failures, "tail": _tail}
