"""`terrasterctl backend …` and `terrasterctl why …`: commands of operators for single backends.

    backend drain|maintain|enable|force-up|force-down|pause-checks|resume-checks SERVICE[/PATH] URL
    backend weight SERVICE[/PATH] URL N|file   [--for 10m] [--reason TEXT]
    backend add|remove SERVICE[/PATH] URL                  (`terraster.cli.edits`)
    backend list [SERVICE[/PATH]]                      why [SERVICE[/PATH]] URL

A URL may be shortened to HOST:PORT or HOST if that names one backend. A backend's configured name is enough, too. URL@ADDRESS is one
endpoint of a host name that has several. The socket tells
Terraster which user asks. Behind sudo, the command sends the calling user's name as well.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

from . import edits, phrases, render
from .control import DONE, Control
from .edits import refused, span
from .output import colourful, width
from .watching import add_watch

__all__ = ["add_commands", "backend", "refused", "span", "why"]

_SERVICE_HELP = "the backend's service; add the path if several locations have this backend"
_URL_HELP = "the configured URL, or the configured name, or HOST:PORT or HOST if that names one backend; URL@ADDRESS is one endpoint of a name"


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add both commands to those of terrasterctl. shared: the options of all commands."""
    group = commands.add_parser(
        "backend", parents=[shared], help="drain, maintain or enable a backend, change its weight, or list all"
    )
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("drain", "send no new requests; open requests and sticky sessions stay"),
        ("maintain", "send nothing at all; sticky sessions move to other backends, open requests may finish"),
        ("enable", "undo drain or maintain"),
        ("force-up", "let it count as healthy, whatever its health checks say"),
        ("force-down", "let it count as down, whatever its health checks say"),
        ("pause-checks", "make no health checks; it stays as they found it"),
        ("resume-checks", "let the health checks decide again"),
        ("weight", "override the configured weight"),
    ):
        action = actions.add_parser(name, parents=[shared], help=text)
        action.add_argument("service", metavar="SERVICE[/PATH]", help=_SERVICE_HELP)
        action.add_argument("url", metavar="URL", help=_URL_HELP)
        if name == "weight":
            action.add_argument("weight", metavar="N", type=_weight, help="0: no new requests; `file`: the configured weight again")
        if name not in ("enable", "resume-checks"):
            action.add_argument(
                "--for",
                "-for",
                dest="seconds",
                metavar="TIME",
                type=span,
                default=0.0,
                help="undo the change after this time, such as 90s or 10m",
            )
        action.add_argument(
            "--reason", "-reason", metavar="TEXT", default="", help="a note for other operators, shown by status and why"
        )
    edits.add_actions(actions, shared, _SERVICE_HELP, _URL_HELP)
    listed = actions.add_parser("list", parents=[shared], help="list backends and the changes by operators")
    add_watch(listed)
    listed.add_argument("service", metavar="SERVICE[/PATH]", nargs="?", default="", help="only backends of this service")
    explained = commands.add_parser("why", parents=[shared], help="explain the state of a backend")
    explained.add_argument("service", metavar="SERVICE[/PATH]", nargs="?", default="", help=_SERVICE_HELP)
    explained.add_argument("url", metavar="URL", help=_URL_HELP)


def backend(control: Control, arguments: argparse.Namespace) -> int:
    """The command `backend`."""
    if arguments.action == "list":
        return _list(control, arguments)
    if arguments.action in edits.ACTIONS:
        return edits.edited(control, arguments)
    query = {"action": arguments.action, "service": arguments.service, "url": arguments.url, "reason": arguments.reason}
    if arguments.action == "weight":
        query["weight"] = arguments.weight
    if getattr(arguments, "seconds", 0.0):
        query["for"] = repr(arguments.seconds)
    if os.environ.get("SUDO_USER"):
        query["by"] = os.environ["SUDO_USER"]
    answer = control.ask("POST", "/backend", **query)
    if not answer["ok"]:
        return refused(answer, arguments.json)
    if arguments.json:
        print(json.dumps(answer, indent=2))
        return DONE
    for line in phrases.changed(answer["backend"], time.time()):
        print(line)
    for note in answer["notes"]:
        print(f"note: {note}")
    return DONE


def why(control: Control, arguments: argparse.Namespace) -> int:
    """The command `why`."""
    answer = control.ask("GET", "/why", service=arguments.service, url=arguments.url)
    if not answer["ok"]:
        return refused(answer, arguments.json)
    if arguments.json:
        print(json.dumps(answer, indent=2))
        return DONE
    print("\n".join(phrases.explained(one, answer["now"], width()) for one in answer["backends"]), end="")
    return DONE


def _list(control: Control, arguments: argparse.Namespace) -> int:
    document = control.ask("GET", "/status")
    wanted = arguments.service
    services = []
    for service in document["services"]:
        locations = [one for one in service["locations"] if one["backends"] and _is(service["name"], one["path"], wanted)]
        if locations:
            services.append({**service, "locations": locations})
    if wanted and not services:
        names = [
            f"{one['name']}{location['path']}"
            for one in document["services"]
            for location in one["locations"]
            if location["backends"]
        ]
        problem = f"no service or location {wanted} has backends"
        return refused({"ok": False, "problems": [problem], "candidates": names}, arguments.json)
    if arguments.json:
        rows = [
            {"service": service["name"], "location": location["path"], **one}
            for service in services
            for location in service["locations"]
            for one in location["backends"]
        ]
        print(json.dumps({"ok": True, "now": document["now"], "backends": rows}, indent=2))
    else:
        shown = {**document, "services": services, "orphans": [] if wanted else document["orphans"]}
        print(render.backends(shown, colour=colourful(), width=width()), end="")
    return DONE


def _is(service: str, path: str, wanted: str) -> bool:
    """True if a location is meant: by its service, by its path with its name, or by its path alone, which others may have too."""
    return wanted in ("", service) or wanted.rstrip("/") in [
        f"{service}{one}".rstrip("/") for one in (path, path.partition("#")[0])
    ]


def _weight(text: str) -> str:
    if text in ("file", "default"):
        return "file"
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError("must be a whole number from 0, or `file` for the configured weight")
    return text
