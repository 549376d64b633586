"""`terrasterctl limits [reset] …`: the clients that are nearest to the limits of a service, and one that may begin anew."""

from __future__ import annotations

import argparse
import json
from typing import Any
from urllib.parse import urlencode

from .asking import api
from .control import DONE, Control
from .output import colourful
from .table import BOLD, DIM, RED, Cell, lay_out

__all__ = ["add_command", "limits"]


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    group = commands.add_parser("limits", parents=[shared], help="show the clients nearest to a limit, or let one begin anew")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    shown = actions.add_parser("show", parents=[shared], help="show the clients that are nearest to the limits of a service")
    shown.add_argument("service", metavar="SERVICE", help="the name of the service")
    shown.add_argument("name", metavar="NAME", nargs="?", default="", help="only this limit; `default`: that without a name")
    reset = actions.add_parser("reset", parents=[shared], help="let a client of a rate limit begin anew")
    reset.add_argument("service", metavar="SERVICE", help="the name of the service")
    reset.add_argument("name", metavar="NAME", help="the name of the limit; `default`: that without a name")
    reset.add_argument("client", metavar="KEY", help="the client's address or value, or its #ID")
    reset.add_argument("--reason", "-reason", metavar="TEXT", default="", help="a note for other operators, kept in the audit log")
    reset.add_argument("--dry-run", "-dry-run", action="store_true", help="say what would change, and change nothing")


def limits(control: Control, arguments: argparse.Namespace) -> int:
    """The command `limits`."""
    service = arguments.service
    if arguments.action == "reset":
        query = urlencode({"service_name": service, **({"dry_run": "true"} if arguments.dry_run else {})})
        body = {"name": arguments.name, "client": arguments.client, "reason": arguments.reason}
        answer = api(control, "POST", f"/api/limits/reset?{query}", body)
    else:
        answer = api(control, "GET", f"/api/limits/clients?{urlencode({'service_name': service, 'name': arguments.name})}")
        answer["service"] = answer.pop("service_name")
    if arguments.json:
        print(json.dumps({"ok": True, **answer}, indent=2))
    elif arguments.action == "reset":
        print(_told(answer))
    else:
        print(table(answer), end="")
    return DONE


def _told(answer: dict[str, Any]) -> str:
    if not answer["changed"]:
        return f"no request of this client counts against limit {answer['name']}"
    words = "would begin anew" if answer["dry_run"] else "begins anew"
    return (
        f"client {answer['id']} of limit {answer['name']} {words}: {answer['before']:g} requests counted, now {answer['after']:g}"
    )


def table(answer: dict[str, Any]) -> str:
    """The limits and their clients as text."""
    rows = [[Cell(word, DIM) for word in ("CLIENT", "ID", "USED", "OF", "SHARE", "SECONDS")]]
    for one in answer["limits"]:
        rows.append([Cell(f"{one['kind']} {one['name']}, by {one['key']}", BOLD)])
        for client in one["clients"]:
            colour = RED if client["share"] >= 1 else ""
            seconds = "-" if client["seconds"] is None else f"{client['seconds']:g}"
            rows.append(
                [
                    Cell(f"  {client['client'][:30] or '-'}", colour),
                    Cell(client["id"]),
                    Cell(f"{client['used']:g}"),
                    Cell(str(one["most"])),
                    Cell(f"{client['share'] * 100:.0f}%", colour),
                    Cell(seconds),
                ]
            )
    return lay_out(rows, colourful()) if len(rows) > 1 else f"service {answer['service']} has no limits\n"
