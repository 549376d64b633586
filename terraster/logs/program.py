"""The program's own log: events of the master and its children, one line each, on standard error.

    2025-01-31T12:00:00.123+01:00 info  [4711] backend http://10.0.0.1:80 of shop/ is down: connection refused (4 of 4 probes
    failed)

If standard error is systemd's journal, which has the time and the process of each line itself, a line is its priority and the text:

    <6>backend http://10.0.0.1:80 of shop/ is down: connection refused (4 of 4 probes failed)

gunicorn requires a logger class with the interface of `Logger`. This class has that interface and writes the lines itself. Access lines
are written by `terraster.logs.access`. systemd, containers and terminals collect standard error. There is no file, so a rotation loses
nothing.

A process never waits for the reader of its log. A pager that was stopped, or a pipe that is not read, must not stop the load balancer.
`terraster.logs.sink` writes the lines. It keeps lines that the reader has not taken yet, up to a bound, and counts the lines that it
drops. When the reader takes lines again, a line says how many were lost.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from gunicorn.glogging import Logger

from ..config.descriptors import STDERR
from ..state.cells import Seat
from . import journal
from .sink import Sink

__all__ = ["LEVELS", "ProgramLog"]

LEVELS = ("debug", "info", "warning", "error", "critical")


class _Line(logging.Formatter):
    """One record on one line. The traceback of an exception follows on further lines."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_timestamp(record.created)} {record.levelname.lower():<5} [{record.process}] {record.getMessage()}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


class _JournalLine(logging.Formatter):
    """One record for the journal. Each of its lines has the priority."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return journal.prioritized(text, record.levelno)


class _StandardError(logging.Handler):
    """Writes lines to standard error and never waits."""

    _gunicorn = True  # gunicorn removes handlers that have this mark

    def __init__(self) -> None:
        super().__init__()
        self.sink = Sink(STDERR, _unsaid, must=False)
        self._reported = 0  # lost lines that were reported

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # a message whose arguments do not fit it
            self.handleError(record)
            return
        self.sink.write(f"{line}\n".encode(errors="backslashreplace"))
        self.flush()

    def flush(self) -> None:
        """Try to write the lines that wait for the reader."""
        if self.sink.pending:
            self.sink.write(b"")
        lost = self.sink.losses.lines - self._reported
        if lost and not self.sink.pending and not self.sink.troubled:
            self._reported = self.sink.losses.lines
            why = os.strerror(self.sink.losses.why) if self.sink.losses.why else "the reader was too slow"
            text = f"{lost} line{'s' * (lost != 1)} of this log lost: {why}"
            record = logging.LogRecord("", logging.WARNING, "", 0, text, None, None)
            self.sink.write(f"{self.format(record)}\n".encode())

    def forked(self) -> None:
        """Called in a child: the parent writes the lines that wait, and counts those that it lost."""
        self.sink.forget()
        self.sink.losses.reset()
        self._reported = 0


def _unsaid(_warning: str) -> None:
    """The program's log reports its own losses, in the log itself."""


class _Stream:
    """A stream for the traceback that gevent prints when an exception ends a greenlet. Each line becomes a line of the log."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if line:
                self._log.error("%s", line)
        return len(text)

    def flush(self) -> None:
        """Does nothing: only the start of an unfinished line is buffered."""


def _timestamp(seconds: float) -> str:
    """RFC 3339 with milliseconds, in local time."""
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{int(seconds % 1 * 1000):03d}{zone[:3]}:{zone[3:]}"


class ProgramLog(Logger):  # type: ignore[misc]
    """The logger class of every process. Children inherit it over the fork. It opens a file only if ``errorlog`` names one."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        form = _JournalLine() if journal.behind(2, os.environ) else _Line()
        for handler in list(self.error_log.handlers):
            if type(handler) is logging.StreamHandler:
                self.error_log.removeHandler(handler)
                self.error_log.addHandler(_StandardError())
        for handler in self.error_log.handlers:
            handler.setFormatter(form)

    def stream(self) -> _Stream:
        """A stream for a hub's ``exception_stream``. The hub's default would wait for the reader of standard error."""
        return _Stream(self)

    def flush(self) -> None:
        """Try to write the lines that wait for a slow reader. Never waits. Called at least a few times a minute."""
        for handler in self.error_log.handlers:
            handler.flush()

    def forked(self) -> None:
        """Called in a child: drop the lines that the parent still has to write."""
        for handler in self._handlers():
            handler.forked()

    def close(self) -> None:
        """Called when a process ends: give a slow reader half a second for the last lines."""
        for handler in self._handlers():
            handler.sink.close()

    def publish(self, q: memoryview, seat: int, wall: float) -> None:
        """Publish the lost lines of this process in its seat, with the arguments of `Losses.publish`."""
        for handler in self._handlers():
            handler.sink.losses.publish(q, seat, Seat.PROGRAM_LINES_LOST, wall)

    def _handlers(self) -> list[_StandardError]:
        return [handler for handler in self.error_log.handlers if isinstance(handler, _StandardError)]

    def set_level(self, level: str) -> None:
        """Change the level at run time. level: one of `LEVELS`"""
        self.loglevel = self.LOG_LEVELS[level]
        self.error_log.setLevel(self.loglevel)
