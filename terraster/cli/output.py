"""Standard output of a command: a terminal of some width and colour, or a pipe, which may be closed early (``terraster --schema | head``)."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable

__all__ = ["WIDTH", "colourful", "until_closed", "width"]

WIDTH = 100  # columns, where there is no terminal to ask


def until_closed(command: Callable[[], int]) -> int:
    """Run a command and give its exit code; 1, and no traceback, if nobody reads its output any more."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale that lacks a character must not lose the rest
    try:
        code = command()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter complains when it flushes at its end
        return 1
    return code


def colourful() -> bool:
    """Whether colours are welcome."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Columns to fill: those of the terminal, a fixed number where there is none."""
    return shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH
