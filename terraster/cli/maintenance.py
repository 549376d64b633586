"""`terrasterctl maintenance on|off SERVICE [--for 1h] [--reason TEXT]`: the command of operators that has a service answer 503."""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

from .backend import refused, span
from .control import DONE, Control
from .phrases import until_when

__all__ = ["add_command", "maintenance"]


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    group = commands.add_parser("maintenance", parents=[shared], help="answer every request of a service with 503, or serve again")
    group.add_argument("action", metavar="on|off", choices=("on", "off"), help="on: answer with 503; off: serve again")
    group.add_argument("service", metavar="SERVICE", help="the name of the service")
    group.add_argument(
        "--for",
        "-for",
        dest="seconds",
        metavar="TIME",
        type=span,
        default=0.0,
        help="with on: serve again after this time, such as 90s or 10m",
    )
    group.add_argument("--reason", "-reason", metavar="TEXT", default="", help="a note for other operators, shown by status")


def maintenance(control: Control, arguments: argparse.Namespace) -> int:
    """The command `maintenance`."""
    query = {"action": arguments.action, "service": arguments.service, "reason": arguments.reason}
    if arguments.seconds and arguments.action == "on":
        query["for"] = repr(arguments.seconds)
    if os.environ.get("SUDO_USER"):
        query["by"] = os.environ["SUDO_USER"]
    answer = control.ask("POST", "/maintenance", **query)
    if not answer["ok"]:
        return refused(answer, arguments.json)
    if arguments.json:
        print(json.dumps(answer, indent=2))
        return DONE
    order = answer["maintenance"]
    if order is None:
        print(f"service {answer['service']} serves")
    else:
        until = until_when(order["until"], time.time())
        print(f"service {answer['service']} is under maintenance: requests are answered with 503{until}")
    for note in answer["notes"]:
        print(f"note: {note}")
    return DONE
