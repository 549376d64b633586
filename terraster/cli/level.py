"""`terrasterctl log-level [LEVEL|file] [--for 10m] [--reason TEXT]`: the least level of the program's log, in all processes."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from .asking import api
from .control import DONE, Control
from .edits import span
from .phrases import until_when

__all__ = ["add_command", "level"]

_LEVELS = ("debug", "info", "warning", "error", "critical", "file")


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    made = commands.add_parser(
        "log-level", parents=[shared], help="give the program's log another level in all processes, or show it"
    )
    made.add_argument(
        "level", metavar="LEVEL", nargs="?", default="", choices=("", *_LEVELS), help=f"{', '.join(_LEVELS)} (the configured one)"
    )
    made.add_argument(
        "--for", "-for", dest="seconds", metavar="TIME", type=span, default=0.0, help="undo it after this time, such as 10m"
    )
    made.add_argument("--reason", "-reason", metavar="TEXT", default="", help="a note for other operators, shown by status")


def level(control: Control, arguments: argparse.Namespace) -> int:
    """The command `log-level`."""
    if arguments.level:
        body = {"level": arguments.level, "reason": arguments.reason}
        body |= {"for": arguments.seconds} if arguments.seconds and arguments.level != "file" else {}
        answer = api(control, "POST", "/api/log-level", body)
    else:
        answer = api(control, "GET", "/api/log-level")
    if arguments.json:
        print(json.dumps({"ok": True, **answer}, indent=2))
        return DONE
    order = answer["order"]
    how = "as configured" if order is None else f"by {order['by'] or 'an operator'}{until_when(order['until'], time.time())}"
    reason = f": {order['reason']}" if order is not None and order["reason"] else ""
    print(f"the log has the level {answer['level']}, {how}{reason}")
    return DONE
