"""`terrasterctl diff`: the running configuration against its files, or one generation against another, by values.

diff                the running configuration, edits included, against the files as they are now
diff OLD [NEW]      a generation against another one, default: the one that runs
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from .control import DONE, FAILED, Away, Control, Refused
from .edits import refused
from .output import colourful, width
from .phrases import many, wrapped
from .table import BOLD, GREEN, PLAIN, RED

__all__ = ["add_command", "differences", "lines"]


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    command = commands.add_parser(
        "diff", parents=[shared], help="show how the files differ from what runs, value by value; exit code 1 if they do"
    )
    command.add_argument(
        "old",
        metavar="OLD",
        type=_generation,
        nargs="?",
        default=0,
        help="a generation instead of the one that runs, see `generations`",
    )
    command.add_argument(
        "new", metavar="NEW", type=_generation, nargs="?", default=0, help="a generation instead of the files; default: what runs"
    )


def _generation(text: str) -> int:
    """The number of a generation; 0 is none, and would be taken for one that was not named."""
    if not (text.isascii() and text.isdecimal()) or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a generation, see `generations`")
    return int(text)


def differences(control: Control, arguments: argparse.Namespace) -> int:
    """The command `diff`."""
    if arguments.old:
        path = f"/api/generations/diff?old={arguments.old}&new={arguments.new}&values=true"
    else:
        path = "/api/config/diff"
    try:
        status, answer = control.exchange("GET", path, None, {})
    except Away as away:
        control.master()  # says it if none runs
        raise Refused(f"the admin worker does not answer: {away}") from None
    if status >= 400:
        problems = [one["detail"] for one in answer.get("errors", ())] or [answer["detail"]]
        return refused({"ok": False, "problems": problems, "candidates": []}, arguments.json)
    found = answer["differences" if "differences" in answer else "values"]
    if arguments.json:
        sides = {key: answer[key] for key in ("generation", "old", "new") if key in answer}
        print(json.dumps({"ok": True, **sides, "differences": found}, indent=2))
    else:
        print("\n".join(lines(found, colour=colourful(), width=width())) or "nothing differs")
        if found:
            print(many(len(found), "difference"), file=sys.stderr)
    return FAILED if found else DONE


def lines(found: list[dict[str, Any]], *, colour: bool, width: int) -> Iterator[str]:
    """The text for people: below each key the two values, each with the place that it comes from."""
    heads, ends = ((BOLD, RED, GREEN), PLAIN) if colour else (("", "", ""), "")
    for one in found:
        place = f"{one['service']}{one['location']}" or "top"
        yield f"{heads[0]}{place}: {one['key']}{ends}" if one["key"] else f"{heads[0]}{place}{ends}"
        for sign, head, side in (("-", heads[1], one["old"]), ("+", heads[2], one["new"])):
            for line in wrapped(f"  {sign} {side['words']}{_origin(side)}", width):
                yield f"{head}{line}{ends}"


def _origin(side: dict[str, Any]) -> str:
    match side["origin"]:
        case "default":
            return " (default)"
        case "none":
            return ""
        case "service" | "top":
            return f" (from the {side['origin']}, {side['place']})"
        case _:
            return f" ({side['place']})"
