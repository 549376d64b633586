"""Standard output of a command, which may be a pipe that is closed early (``terraster --schema | head``)."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

__all__ = ["until_closed"]


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
