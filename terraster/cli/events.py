"""`terrasterctl events`: one timeline of everything."""

from __future__ import annotations

import argparse
import json
import textwrap
import time
from typing import Any

from .backend import refused
from .control import DONE, Control
from .moments import since
from .output import colourful, width
from .table import DIM, PLAIN

__all__ = ["add_command", "events"]

KINDS = ("backend", "reload", "generation", "worker", "problem", "operator")
_LOOK = 1.0  # seconds between two looks of `--watch`
_OVERLAP = 10.0  # seconds that a look goes back: events of several processes are not written in their order


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    parser = commands.add_parser(
        "events", parents=[shared], help="show what happened: states of backends, reloads, workers, problems, operators"
    )
    parser.add_argument("--since", metavar="TIME", type=since, default=0.0, help="only what happened since then (default: 1 day)")
    parser.add_argument("--kind", choices=KINDS, default="", help="only events of this kind")
    parser.add_argument("--limit", metavar="N", type=int, default=50, help="how many events, the last ones (default: 50)")
    parser.add_argument("--watch", action="store_true", help="go on, and show each event when it happens")


def events(control: Control, arguments: argparse.Namespace) -> int:
    """The command `events`."""
    document = _asked(control, arguments, arguments.since, arguments.limit)
    if not document["ok"]:
        return refused(document, arguments.json)
    if arguments.json and not arguments.watch:
        print(json.dumps(document, indent=2))
        return DONE
    shown = document["events"][::-1]
    day = _print(shown, _day(document["now"]), arguments.json)
    if not arguments.watch:
        if not shown:
            print("no events")
        return DONE
    seen = {_identity(one) for one in shown}
    while True:
        time.sleep(_LOOK)
        control = control.again(arguments.timeout)  # the time is for one question
        document = _asked(control, arguments, document["now"] - _OVERLAP, 1000)
        if not document["ok"]:
            return refused(document, arguments.json)
        fresh = [one for one in document["events"][::-1] if _identity(one) not in seen]
        seen = {_identity(one) for one in document["events"]}
        day = _print(fresh, day, arguments.json)


def _asked(control: Control, arguments: argparse.Namespace, begin: float, limit: int) -> dict[str, Any]:
    query = {"limit": str(limit), "kind": arguments.kind}
    if begin:
        query["since"] = repr(begin)
    return control.ask("GET", "/events", **query)


def _identity(event: dict[str, Any]) -> tuple[Any, ...]:
    return event["when"], event["kind"], event["target"], event["text"]


def _print(found: list[dict[str, Any]], day: str, as_json: bool) -> str:
    """Print events. day: of the one before, or of now; returns that of the last one."""
    for event in found:
        if as_json:
            print(json.dumps(event), flush=True)
            continue
        if (of_event := _day(event["when"])) != day:
            day = of_event
            print(f"{DIM}{day}{PLAIN}" if colourful() else day)
        print("\n".join(lines(event, colour=colourful(), width=width())), flush=True)
    return day


def _day(when: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(when))


def lines(event: dict[str, Any], *, colour: bool, width: int) -> list[str]:
    """An event for people, in as many lines as it needs, the further ones below the text of the first. A word that is too long, such as a URL,
    stays whole. The day is not in it."""
    head = f"{time.strftime('%H:%M:%S', time.localtime(event['when']))}  {event['kind']:10}  "
    text = f"{event['target']} {event['text']}" if event["target"] else event["text"]
    text += f"; it answered: {event['answer']}" if event.get("answer") else ""
    indent = " " * (4 if len(head) > width // 2 else len(head))
    found = textwrap.wrap(
        text, max(40, width), initial_indent=head, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    if colour and found:
        found[0] = f"{DIM}{head}{PLAIN}{found[0][len(head) :]}"
    return found or [head.rstrip()]
