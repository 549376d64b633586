"""Standard output of a command: a terminal of some width and colour, or a pipe, which may be closed early (``terraster --schema | head``)."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable

__all__ = ["WIDTH", "colourful", "drop", "until_closed", "width"]

WIDTH = 100  # columns, where there is no terminal to ask


def until_closed(command: Callable[[], int]) -> int:
    """Run a command and return its exit code. If the reader of its output has gone: 1, without a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a character that the locale lacks must not lose the rest of the output
    try:
        code = command()
        sys.stdout.flush()
    except BrokenPipeError:
        drop()
        return 1
    return code


def drop() -> None:
    """Lose what has been printed and could not be written. The interpreter would report an error when it writes that at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def colourful() -> bool:
    """True if the output should have colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int:
    """The columns of the terminal; of a pipe a fixed number. `COLUMNS` in the environment has the last word."""
    return shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else _wanted() or WIDTH


def _wanted() -> int:
    """The number in `COLUMNS`, 0 if there is none."""
    text = os.environ.get("COLUMNS", "")
    return int(text) if text.isascii() and text.isdigit() else 0
