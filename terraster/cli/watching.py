"""`--watch [SECONDS]`: a command that shows a table is run again and again, on the same screen, until Ctrl-C.

On a terminal the table is cut to the screen and drawn over the one before, in a single write, so nothing flickers. In a pipe the tables
follow one another; with `--json` each document is one line.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

from .control import DONE, Control, Refused

__all__ = ["add_watch", "drawn", "watched"]

_USUAL = 2.0  # seconds between two tables
_LEAST = 0.1

Command = Callable[[Control, argparse.Namespace], int]


def add_watch(command: Any) -> None:
    """Add the option to a command."""
    command.add_argument(
        "--watch",
        dest="watch_seconds",
        metavar="SECONDS",
        nargs="?",
        type=_seconds,
        const=_USUAL,
        default=0.0,
        help=f"show it again and again, every {_USUAL:g} seconds or this often, until Ctrl-C",
    )


def watched(run: Command, control: Control, arguments: argparse.Namespace) -> int:
    """Run a command as its `--watch` says: once without it. A failure of the first run ends it; a later one is shown until it is over."""
    if not getattr(arguments, "watch_seconds", 0.0):
        return run(control, arguments)
    first = True
    while True:
        page = _Page(sys.stdout)
        try:
            with redirect_stdout(page):
                code = run(control, arguments)
            if first and code != DONE:
                sys.stdout.write(page.getvalue())
                return code
        except Refused as refused:
            if first:
                raise
            page.write(f"terrasterctl: {refused}; trying again\n")
        _show(page.getvalue(), arguments.json)
        first = False
        time.sleep(arguments.watch_seconds)
        control = control.again(arguments.timeout)


class _Page(io.StringIO):
    """The text of one run. It is a terminal if the output is one, so that a command colours it as it would the output."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self._is_terminal = output.isatty()

    def isatty(self) -> bool:
        return bool(self._is_terminal)


def _show(text: str, as_json: bool) -> None:
    if as_json:
        text = f"{json.dumps(json.loads(text))}\n" if text.startswith("{") else text
    elif sys.stdout.isatty():
        text = drawn(text, shutil.get_terminal_size().lines)
    sys.stdout.write(text)
    sys.stdout.flush()


def drawn(text: str, rows: int) -> str:
    """The text as it is drawn over a screen of so many rows. A line that is wider than the screen is cut by the terminal."""
    lines = text.splitlines()
    if len(lines) > rows - 1 > 0:
        more = len(lines) - rows + 2
        lines = [*lines[: rows - 2], f"... {more} more lines"]
    return "\x1b[?7l\x1b[H" + "".join(f"{line}\x1b[0m\x1b[K\r\n" for line in lines) + "\x1b[J\x1b[?7h"


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not _LEAST <= seconds <= 86400.0:
        raise argparse.ArgumentTypeError(f"must be seconds, from {_LEAST:g}")
    return seconds
