"""`terrasterctl mirror [SERVICE]`: what became of the copies of requests, and how answers to them differed."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from .backend import refused
from .control import DONE, Control
from .phrases import milliseconds

__all__ = ["add_command", "mirror"]

_MANY = 20
"""Differences that are printed."""


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    command = commands.add_parser("mirror", parents=[shared], help="show mirrors, and how answers to copies differed")
    command.add_argument("service", metavar="SERVICE", nargs="?", default="", help="of this service only")


def mirror(control: Control, arguments: argparse.Namespace) -> int:
    """The command `mirror`."""
    document = control.ask("GET", "/mirrors", service=arguments.service)
    if not document["ok"]:
        return refused(document, arguments.json)
    if arguments.json:
        print(json.dumps(document, indent=2))
    else:
        print("\n".join(_lines(document)))
    return DONE


def _lines(document: dict[str, Any]) -> list[str]:
    found = []
    for one in document["mirrors"]:
        for entry in one["entries"]:
            name = f" ({entry['name']})" if entry["name"] else ""
            found.append(f"{one['service']}{one['location']}{name}: {entry['percent']:g} % to {', '.join(entry['to'])}")
        found += _counters(one)
    if not found:
        return ["no mirror is configured"]
    differences = document["differences"]
    if differences:
        shown = differences[:_MANY]
        found.append("")
        found.append(f"the last {len(shown)} of {len(differences)} differences that the workers keep:")
        for one in shown:
            found += _difference(one)
    return found


def _counters(one: dict[str, Any]) -> list[str]:
    counters = one["counters"]
    lines = [f"  sent {counters['sent']}"]
    for what in ("failed", "skipped", "differed"):
        parts = [
            f"{name.removeprefix(f'{what}_').replace('_', ' ')} {count}"
            for name, count in counters.items()
            if name.startswith(f"{what}_") and count
        ]
        if what == "differed" and counters["compared"]:
            lines.append(f"  compared {counters['compared']}, differed: {', '.join(parts) or 'none'}")
        elif parts:
            lines.append(f"  {what}: {', '.join(parts)}")
    if counters["dropped"]:
        lines.append(f"  dropped {counters['dropped']}")
    if one["mean_seconds"] is not None:
        original, copy = one["mean_seconds"]["original"], one["mean_seconds"]["copy"]
        lines.append(f"  answers began after {milliseconds(original)} (originals) and {milliseconds(copy)} (copies) on average")
    return lines


def _difference(one: dict[str, Any]) -> list[str]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["when"]))
    lines = [
        f"{when} {one['method']} {one['path']} of {one['service']}{one['location']}, request {one['request_id']}, to {one['to']}"
    ]
    differs = one["differs"]
    if "status" in differs:
        lines.append("  status {}, copy {}".format(*differs["status"]))
    for field in differs.get("headers", ()):
        lines.append(f"  {field['name']}: {_value(field['original'])}, copy {_value(field['copy'])}")
    if "body" in differs:
        original, copy = (_body(part) for part in differs["body"])
        lines.append(f"  body {original}, copy {copy}")
    if "latency" in differs:
        original, copy = (milliseconds(seconds) for seconds in differs["latency"])
        lines.append(f"  after {original}, copy {copy}")
    return lines


def _value(value: str | None) -> str:
    return "missing" if value is None else value or '""'


def _body(part: dict[str, Any]) -> str:
    more = " and more" if part["more"] else ""
    return f"{part['octets']} octets{more} ({part['sha256'][:12]})"
