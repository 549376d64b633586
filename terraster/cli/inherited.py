"""The state that a process inherits from the program that started it, set right. Both commands call `clean` before all else.

A supervisor that forks from a thread leaves its signal mask: a blocked SIGCHLD hides the end of a worker, a blocked SIGTERM the order to
stop. A shell's `&` and a careless parent leave signals ignored. A parent that closed a standard descriptor lets the next file or pipe
that Terraster opens become standard error: log lines would then be written into it.

Other descriptors are left open, as nginx leaves them: the lock of `flock`, or a configuration from ``<(…)``, may depend on them.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import sys
from types import FrameType
from typing import TextIO

__all__ = ["Absent", "clean"]

_AT_FIRST = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
    signal.SIGABRT,
    signal.SIGALRM,
)
"""Signals with their default action until the master installs its handlers. SIGHUP is not among them: `nohup` lets it be ignored
until then, and from then on it is a reload, as in nginx and HAProxy."""

_OWNER = 0o700


class Absent(io.FileIO):
    """A standard descriptor that was closed when the process began, and leads to nowhere now."""


def clean() -> None:
    """Unblock all signals, stop ignoring those that are orders, open the standard descriptors that are closed, allow the owner
    the use of new files, raise the limit of their size as far as it goes, leave a directory that has been removed, and keep plugins of pydantic
    out unless the environment says otherwise.

    Called once, in the first function of a process, before it opens a file that stays open.
    """
    for number in _AT_FIRST:
        signal.signal(number, signal.SIG_DFL)
    if os.getpid() == 1:  # in a container: the kernel ignores the default action of signals to process 1
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, _end)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _open_standard_descriptors()
    os.umask(os.umask(0o077) & ~_OWNER)
    _leave_removed_directory()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # or pydantic reads what every installed package says of itself
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def _open_standard_descriptors() -> None:
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            break
        os.set_inheritable(descriptor, True)
    # Python leaves None for a descriptor that was closed when it started
    sys.stdin = sys.stdin or _stream(0, "r")
    sys.stdout = sys.stdout or _stream(1, "w")
    sys.stderr = sys.stderr or _stream(2, "w")


def _stream(descriptor: int, mode: str) -> TextIO:
    return io.TextIOWrapper(Absent(descriptor, mode, closefd=False), encoding="utf-8")


def _leave_removed_directory() -> None:
    """Go to the directory of that name if there is one by now, else to the root: libraries ask for the directory when they are imported."""
    try:
        os.getcwd()
    except FileNotFoundError:
        try:
            os.chdir(os.environ.get("PWD", "/"))
        except OSError:
            os.chdir("/")


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)
