"""`terrasterctl plugins`: the plugins in use, what they did, and what is wrong with them."""

from __future__ import annotations

import argparse
import json
from typing import Any

from terraster.config.plugin import quarantine_reasons

from .control import DONE, Control
from .output import colourful, width
from .phrases import milliseconds
from .table import DIM, GREEN, RED, Cell, lay_out, sentence
from .watching import add_watch

__all__ = ["add_command", "plugins"]

_MANY = 3
"""Services that are named."""


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    add_watch(
        commands.add_parser("plugins", parents=[shared], help="show plugins, their calls and faults, and which are in quarantine")
    )


def plugins(control: Control, arguments: argparse.Namespace) -> int:
    """The command `plugins`."""
    document = control.ask("GET", "/plugins")
    if arguments.json:
        print(json.dumps(document, indent=2))
    else:
        print(shown(document, colour=colourful(), width=width()), end="")
    return DONE


def shown(document: dict[str, Any], *, colour: bool, width: int) -> str:
    """The text for people: a line for each plugin, and below it what is wrong with it, and its own counters."""
    if not document["plugins"]:
        return "no plugin is in use\n"
    heads = ("NAME", "STATE", "CALLS", "MEAN", "ANSWERS", "FAULTS", "SKIPPED", "SERVICES")
    rows = [[Cell(word, DIM) for word in heads]]
    for one in document["plugins"]:
        bad = one["state"] != "active"
        mean = "" if one["mean_seconds"] is None else milliseconds(one["mean_seconds"])
        faults = one["exceptions"] + one["timeouts"]
        services = ", ".join(one["services"][:_MANY]) + (
            f" and {len(one['services']) - _MANY} more" if len(one["services"]) > _MANY else ""
        )
        rows.append(
            [
                Cell(one["name"]),
                Cell(one["state"].upper() if bad else one["state"], RED if bad else GREEN),
                Cell(str(one["calls"])),
                Cell(mean),
                Cell(str(one["answers"])),
                Cell(str(faults), RED if faults else ""),
                Cell(str(one["skipped"])),
                Cell(services),
            ]
        )
        if one["quarantined_workers"]:
            workers = one["quarantined_workers"]
            rows += sentence("quarantine", f"in {workers} worker{'s' * (workers != 1)}: {quarantine_reasons(one)}", width, RED)
        if one["problem"]:
            rows += sentence("new version", f"{one['problem']}; the one before stays in use", width, RED)
        if one["counters"]:
            rows += sentence("counters", ", ".join(f"{name} {count}" for name, count in one["counters"].items()), width, "")
    return lay_out(rows, colour)
