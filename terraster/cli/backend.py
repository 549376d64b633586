"""`terrasterctl backend …` and `terrasterctl why …`: what an operator does to single backends, and what is known of them.

    backend drain|maintain|enable SERVICE[/PATH] URL   backend weight SERVICE[/PATH] URL N|file   [--for 10m] [--reason TEXT]
    backend list [SERVICE[/PATH]]                      why [SERVICE[/PATH]] URL

A URL may be shortened to HOST:PORT where that is clear. Whoever asks is known by the socket; behind sudo, whom it was called by is told
as well.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

from ..config.quantities import duration
from . import render
from .control import DONE, FAILED, Control
from .output import colourful, width

__all__ = ["add_commands", "backend", "why"]


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add both commands to those of terrasterctl. shared: the options that all have."""
    group = commands.add_parser("backend", parents=[shared], help="drain, maintain, enable or weigh one backend")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("drain", "no new work; what it has it keeps: requests, connections, sessions"),
        ("maintain", "nothing at all: sessions go elsewhere too; open requests may end"),
        ("enable", "take drain or maintain back"),
        ("weight", "another weight than the configuration's"),
    ):
        action = actions.add_parser(name, parents=[shared], help=text)
        action.add_argument("service", metavar="SERVICE[/PATH]", help="its service; with a path, if that has several locations")
        action.add_argument("url", metavar="URL", help="as configured, or HOST:PORT, or HOST, where that is clear")
        if name == "weight":
            action.add_argument("weight", metavar="N", type=_weight, help="0: no new work; `file`: what the configuration says")
        if name != "enable":
            action.add_argument(
                "--for", "-for", dest="seconds", metavar="TIME", type=_time, default=0.0, help="ends by itself, as 90s, 10m"
            )
        action.add_argument("--reason", "-reason", metavar="TEXT", default="", help="for whoever finds it so")
    listed = actions.add_parser("list", parents=[shared], help="backends, and what was changed of them")
    listed.add_argument("service", metavar="SERVICE[/PATH]", nargs="?", default="")
    explained = commands.add_parser("why", parents=[shared], help="why a backend is in the state it is in")
    explained.add_argument("service", metavar="SERVICE[/PATH]", nargs="?", default="")
    explained.add_argument("url", metavar="URL")


def backend(control: Control, arguments: argparse.Namespace) -> int:
    """The command `backend`."""
    if arguments.action == "list":
        return _list(control, arguments)
    query = {"action": arguments.action, "service": arguments.service, "url": arguments.url, "reason": arguments.reason}
    if arguments.action == "weight":
        query["weight"] = arguments.weight
    if getattr(arguments, "seconds", 0.0):
        query["for"] = repr(arguments.seconds)
    if os.environ.get("SUDO_USER"):
        query["by"] = os.environ["SUDO_USER"]
    answer = control.ask("POST", "/backend", **query)
    if not answer["ok"]:
        return _refused(answer, arguments.json)
    if arguments.json:
        print(json.dumps(answer, indent=2))
        return DONE
    for line in render.changed(answer["backend"], time.time()):
        print(line)
    for note in answer["notes"]:
        print(f"note: {note}")
    return DONE


def why(control: Control, arguments: argparse.Namespace) -> int:
    """The command `why`."""
    answer = control.ask("GET", "/why", service=arguments.service, url=arguments.url)
    if not answer["ok"]:
        return _refused(answer, arguments.json)
    if arguments.json:
        print(json.dumps(answer, indent=2))
        return DONE
    print("\n".join(render.explained(one, answer["now"], width()) for one in answer["backends"]), end="")
    return DONE


def _list(control: Control, arguments: argparse.Namespace) -> int:
    document = control.ask("GET", "/status")
    wanted = arguments.service
    services = []
    for service in document["services"]:
        places = [one for one in service["locations"] if one["backends"] and _is(service["name"], one["path"], wanted)]
        if places:
            services.append({**service, "locations": places})
    if wanted and not services:
        names = [f"{one['name']}{place['path']}" for one in document["services"] for place in one["locations"] if place["backends"]]
        problem = f"there is no service or location {wanted} with backends"
        return _refused({"ok": False, "problems": [problem], "candidates": names}, arguments.json)
    if arguments.json:
        rows = [
            {"service": service["name"], "path": place["path"], **one}
            for service in services
            for place in service["locations"]
            for one in place["backends"]
        ]
        print(json.dumps({"ok": True, "now": document["now"], "backends": rows}, indent=2))
    else:
        shown = {**document, "services": services, "orphans": [] if wanted else document["orphans"]}
        print(render.backends(shown, colour=colourful(), width=width()), end="")
    return DONE


def _is(service: str, path: str, wanted: str) -> bool:
    return not wanted or wanted == service or f"{service}{path}".rstrip("/") == wanted.rstrip("/")


def _refused(answer: dict[str, Any], as_json: bool) -> int:
    """A refusal, the same for all commands. answer: ``ok problems candidates``."""
    if as_json:
        print(json.dumps(answer, indent=2))
    for problem in answer["problems"]:
        print(f"terrasterctl: {problem}", file=sys.stderr)
    return FAILED


def _weight(text: str) -> str:
    if text in ("file", "default"):
        return "file"
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError("must be a whole number from 0, or `file` for what the configuration says")
    return text


def _time(text: str) -> float:
    try:
        seconds = duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not seconds:
        raise argparse.ArgumentTypeError("must be longer than nothing")
    return seconds
