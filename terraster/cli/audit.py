"""`terrasterctl audit`: who changed what, and the proof that the log of it is whole."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .backend import refused
from .control import DONE, Control
from .moments import since
from .output import colourful, width
from .phrases import moment
from .table import DIM, RED, Cell, lay_out, short

__all__ = ["add_command", "audit"]

_NARROW = 24  # columns of a user or an action


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    parser = commands.add_parser("audit", parents=[shared], help="show who changed what, or check that the log of it is whole")
    parser.add_argument("what", metavar="verify", nargs="?", choices=("verify",), help="check the log instead")
    parser.add_argument("--since", metavar="TIME", type=since, default=0.0, help="only rows since then: 2h, or 2026-11-28T17:00")
    parser.add_argument("--user", metavar="NAME", default="", help="only rows of this user")
    parser.add_argument("--action", metavar="ACTION", default="", help="only rows of this action, such as `backend` or `reload`")
    parser.add_argument("--limit", metavar="N", type=int, default=50, help="how many rows, at most 1000 (default: 50)")
    parser.add_argument(
        "--head", metavar="NUMBER:HASH", default="", help="verify: a row that must be there, from the program's log"
    )
    parser.add_argument("--dir", metavar="DIR", default="", help="verify: the log in this directory, without a running Terraster")


def audit(control: Control, arguments: argparse.Namespace) -> int:
    """The command `audit`."""
    if arguments.what == "verify":
        return _verify(control, arguments)
    query = {"user": arguments.user, "action": arguments.action, "limit": str(arguments.limit)}
    if arguments.since:
        query["since"] = repr(arguments.since)
    document = control.ask("GET", "/audit", **query)
    if not document["ok"]:
        return refused(document, arguments.json)
    if arguments.json:
        print(json.dumps(document, indent=2))
    else:
        print(shown(document, colour=colourful(), width=width()), end="")
    return DONE


def _verify(control: Control, arguments: argparse.Namespace) -> int:
    if arguments.dir:
        document = _of_directory(arguments.dir, arguments.head)
    else:
        document = control.ask("GET", "/audit/verify", **({"head": arguments.head} if arguments.head else {}))
    if not document["ok"]:
        return refused(document, arguments.json)
    if arguments.json:
        print(json.dumps(document, indent=2))
    elif document["rows"]:
        print(f"the audit log is whole: {document['rows']} rows; the last one is {document['last']}:{document['hash']}")
    else:
        print("the audit log is empty")
    return DONE


def _of_directory(directory: str, head: str) -> dict[str, Any]:
    from ..audit.log import AuditError, AuditLog  # for this alone: it takes long to import

    number, _, digits = head.partition(":")
    try:
        found = AuditLog(directory, str).verify((int(number), digits) if head else None)
    except (AuditError, ValueError) as error:
        return {"ok": False, "problems": [str(error)], "candidates": []}
    if found.problem:
        place = f"{directory}/{found.place}: " if found.place else ""
        return {"ok": False, "problems": [f"{place}{found.problem}"], "candidates": []}
    return {"ok": True, "rows": found.rows, "last": found.seq, "hash": found.hash}


def shown(document: dict[str, Any], *, colour: bool, width: int) -> str:
    """The rows for people, the newest first: a line each, and below it what it was about and why."""
    if not document["rows"]:
        return "no rows\n"
    table = [[Cell(word, DIM) for word in ("WHEN", "USER", "ACTION", "OUTCOME")]]
    for row in document["rows"]:
        who = row["user"] or "nobody"
        who += f" from {row['address']}" if row["address"] else ""
        table.append(
            [
                Cell(moment(row["when"], document["now"])),
                Cell(short(who, _NARROW, _NARROW // 2)),
                Cell(short(row["action"], _NARROW, _NARROW // 2)),
                Cell(row["outcome"], "" if row["outcome"] == "done" else RED),
            ]
        )
        for text in (row["target"], row["reason"], row["detail"]):
            table += [[Cell(f"  {short(text, width - 2, width // 3)}")]] if text else []
    more = "older rows are not shown: --limit or --since shows them\n" if document["cursor"] else ""
    return lay_out(table, colour) + more
