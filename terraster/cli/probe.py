"""`terrasterctl probe SERVICE[/PATH] URL`: the health check of a backend, made now."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import Any
from urllib.parse import urlencode

from .asking import api
from .control import DONE, FAILED, Control
from .output import width
from .phrases import milliseconds

__all__ = ["add_command", "probe"]


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    made = commands.add_parser("probe", parents=[shared], help="make the health check of a backend now, and show what it answered")
    made.add_argument(
        "service", metavar="SERVICE[/PATH]", help="the backend's service; add the path if several locations have this backend"
    )
    made.add_argument("url", metavar="URL", help="the configured URL or name, or HOST:PORT; URL@ADDRESS is one endpoint of a name")


def probe(control: Control, arguments: argparse.Namespace) -> int:
    """The command `probe`. It fails if any probe does."""
    query = urlencode({"service_name": arguments.service, "url": arguments.url})
    answer = api(control, "POST", f"/api/backends/probe?{query}")
    answer = {"service": answer.pop("service_name"), "location": answer.pop("path"), **answer}
    if arguments.json:
        print(json.dumps({"ok": True, **answer}, indent=2))
    else:
        print("\n".join(shown(answer, width())))
    return DONE if all(one["ok"] for one in answer["probes"]) else FAILED


def shown(answer: dict[str, Any], columns: int) -> list[str]:
    """The answer as lines."""
    lines = []
    for one in answer["probes"]:
        at = f"@{one['address']}" if one["address"] else ""
        how = "passed" if one["ok"] else "FAILED"
        lines.append(
            f"{answer['service']}{answer['location']} {answer['url']}{at}: {how} in {milliseconds(one['seconds'])}: {one['reason']}"
        )
        if one["answer"]:
            indent = "  it answered: "
            lines += textwrap.wrap(one["answer"], max(40, columns), initial_indent=indent, subsequent_indent="    ")
    return lines or ["it has no address that could be probed"]
