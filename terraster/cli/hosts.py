"""`terrasterctl drain --host HOST` and `terrasterctl undrain --host HOST`: all backends of one host, in all services at once."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any
from urllib.parse import quote

from .asking import api
from .control import DONE, Control
from .edits import span
from .output import colourful, width
from .phrases import many, until_when
from .table import BOLD, DIM, GREEN, Cell, lay_out, short

__all__ = ["add_commands", "drain", "undrain"]


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add both commands to those of terrasterctl. shared: the options of all commands."""
    for name, text in (
        ("drain", "drain all backends of a host, in all services at once; say what is left at them"),
        ("undrain", "undo drain and maintain of all backends of a host"),
    ):
        made = commands.add_parser(name, parents=[shared], help=text, aliases=["ready"] if name == "undrain" else [])
        made.add_argument(
            "--host", "-host", metavar="HOST", required=True, help="a name or an address, as in the URLs of backends; any port"
        )
        made.add_argument(
            "--reason", "-reason", metavar="TEXT", default="", help="a note for other operators, shown by status and why"
        )
        made.add_argument("--dry-run", "-dry-run", action="store_true", help="say what would change, and change nothing")
        if name == "drain":
            made.add_argument(
                "--maintain", "-maintain", action="store_true", help="send nothing at all; sticky sessions move to other backends"
            )
            made.add_argument(
                "--for",
                "-for",
                dest="seconds",
                metavar="TIME",
                type=span,
                default=0.0,
                help="undo it after this time, such as 90s or 2h",
            )


def drain(control: Control, arguments: argparse.Namespace) -> int:
    """The command `drain`."""
    return _order(control, arguments, "maintain" if arguments.maintain else "drain")


def undrain(control: Control, arguments: argparse.Namespace) -> int:
    """The command `undrain`, or `ready`."""
    return _order(control, arguments, "enable")


def _order(control: Control, arguments: argparse.Namespace, action: str) -> int:
    body: dict[str, Any] = {"action": action, "reason": arguments.reason}
    if action != "enable" and arguments.seconds:
        body["for"] = arguments.seconds
    path = f"/api/hosts/{quote(arguments.host, safe='')}/orders" + ("?dry_run=true" if arguments.dry_run else "")
    answer = api(control, "POST", path, body)
    if arguments.json:
        rows = [{"service": one.pop("service_name"), "location": one.pop("path"), **one} for one in answer["backends"]]
        print(json.dumps({"ok": True, **answer, "backends": rows}, indent=2))
    else:
        print(shown(answer, action, time.time(), body.get("for", 0.0), colour=colourful(), width=width()), end="")
    return DONE


def shown(answer: dict[str, Any], action: str, now: float, seconds: float = 0.0, *, colour: bool, width: int) -> str:
    """The answer as text. seconds: after which the change ends by itself, as it was asked for; 0 = never"""
    rows = [[Cell(word, DIM) for word in ("BACKEND", "STATE", "OPEN", "TUNNELS", "REQ/S", "SAFE TO STOP")]]
    room = max(20, width - 56)
    for one in answer["backends"]:
        left = one["left"]
        rows.append(
            [
                Cell(short(f"{one['service_name']}{one['path']} {one['url']}", room, room // 2)),
                Cell(one["state"]),
                Cell(str(one["active"])),
                Cell(str(one["tunnels"])),
                Cell(f"{one['requests_per_second']:g}"),
                Cell("-") if left is None else Cell("yes", GREEN) if left["safe"] else Cell("not yet", BOLD),
            ]
        )
        if left is not None and not left["safe"]:
            rows.append([Cell(f"  {left['words']}")])
    if answer["dry_run"]:  # the orders in the answer are those from before
        until = now + seconds if seconds else None
    else:
        until = next((one["order"]["until"] for one in answer["backends"] if one["changed"] and one["order"]), None)
    would = "would be" if answer["dry_run"] else "were"
    words = {"drain": "drained", "maintain": "taken into maintenance", "enable": "enabled"}[action]
    lines = [
        f"{answer['changed']} of {many(len(answer['backends']), 'backend')} on {answer['host']} {would} {words}{until_when(until, now)}"
    ]
    if action != "enable" and not answer["dry_run"]:
        lines.append(
            "the host may be stopped" if answer["safe"] else "the host must not be stopped yet; ask again to see what is left"
        )
    lines += [f"note: {note}" for note in answer["notes"]]
    return lay_out(rows, colour) + "".join(f"{line}\n" for line in lines)
