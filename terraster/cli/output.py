"""Standard output of a command: a terminal of some width and colour, or a pipe, which may be closed early (``terraster --schema | head``).

A result that cannot be written, as the disk is full or the output was closed before the start, is an error of the command.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

from .inherited import Absent

__all__ = ["OUTPUT", "WIDTH", "colourful", "drop", "until_closed", "width"]

WIDTH = 100  # columns, where there is no terminal to ask

OUTPUT = "standard output"
"""`filename` of an error that comes from writing there."""


class _Named(io.FileIO):
    """Standard output, whose errors have its name. closed_before: nobody can read what is written."""

    def __init__(self, descriptor: int, closed_before: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._closed_before = closed_before

    def write(self, octets: Any, /) -> Any:
        try:
            if self._closed_before:
                raise OSError(errno.EBADF, "it was closed before the start")
            return super().write(octets)
        except OSError as error:
            error.filename = OUTPUT
            raise


def until_closed(name: str, command: Callable[[], int]) -> int:
    """Run a command and return its exit code. If the reader of its output has gone: 1, without a traceback. If the output cannot be written
    for another reason: 1, and the reason on standard error. name: of the program"""
    try:
        _name_errors()
        code = command()
        sys.stdout.flush()
    except BrokenPipeError:
        drop()
        return 1
    except OSError as error:
        if error.filename != OUTPUT:
            raise
        drop()
        print(f"{name}: {OUTPUT}: {error.strerror}", file=sys.stderr)
        return 1
    return code


def _name_errors() -> None:
    """Have errors of standard output say that they are. Errors of what was printed before are raised here."""
    if not isinstance(sys.stdout, io.TextIOWrapper):
        return
    binary = sys.stdout.buffer
    raw: Any = getattr(binary, "raw", binary)
    if type(raw) in (io.FileIO, Absent) and raw.fileno() == 1:
        try:
            sys.stdout.flush()
        except OSError as error:
            error.filename = OUTPUT
            raise
        named: Any = _Named(1, isinstance(raw, Absent))
        keeps = raw is not binary
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(named) if keeps else named,
            encoding=sys.stdout.encoding,
            line_buffering=sys.stdout.line_buffering,
            write_through=not keeps,
        )
    sys.stdout.reconfigure(errors="backslashreplace")  # a character that the locale lacks must not lose the rest of the output


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
