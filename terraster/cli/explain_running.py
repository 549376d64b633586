"""`terrasterctl explain REQUEST`: what the running Terraster would do with a request, and why."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from .backend import refused
from .control import DONE, USAGE, Control
from .explain import REQUEST, add_options
from .output import width
from .phrases import wrapped

__all__ = ["add_command", "explain"]

_MOST = 65_536  # octets of a body that the admin worker reads


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    command = commands.add_parser(
        "explain", parents=[shared], help=f"say what would be done with a request, such as {REQUEST}, and why; nothing is sent"
    )
    command.add_argument("request", metavar="REQUEST", help=f"such as {REQUEST}, in quotes")
    add_options(command)


def explain(control: Control, arguments: argparse.Namespace) -> int:
    """The command `explain`."""
    from terraster.explain.question import ask
    from terraster.explain.text import lines, strange

    asked = {"request": arguments.request, "headers": arguments.header, "client": arguments.client, "listener": arguments.listener}
    body = json.dumps(asked).encode()
    try:
        ask(arguments.request, arguments.header, arguments.client)
        if len(body) > _MOST:
            raise ValueError(f"the request is longer than the {_MOST} octets that can be explained")
    except ValueError as error:
        refused({"ok": False, "problems": [str(error)], "candidates": []}, arguments.json)
        return USAGE
    answer = control.ask("POST", "/explain", body)
    if not answer["ok"]:
        return refused(answer, arguments.json)
    if arguments.json:
        print(json.dumps(answer, indent=2))
        return DONE
    if "text" in answer:  # of another host, which has worded it
        print(answer["text"])
        return DONE
    first, *others = lines(
        answer["request"], strange(answer["port"], answer["courses"], arguments.listener), answer["courses"], True
    )
    shown = [first, f"by generation {answer['generation']}, which is running", *others]
    print("\n".join(part for line in shown for part in wrapped(line, width())))
    for edit in answer["edits"]:
        print(f"note: edit {edit['number']} by {edit['by'] or 'an operator'} is above the files: {edit['words']}", file=sys.stderr)
    if not answer["lines"]:
        print("note: rules have no lines, because the configuration on disk cannot be used as it is", file=sys.stderr)
    elif answer["stale"]:
        files = ", ".join(answer["stale"])
        print(f"note: {files} changed after the last reload, so lines may be those of a rule that does not run", file=sys.stderr)
    return DONE
