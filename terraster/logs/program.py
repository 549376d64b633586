"""The program's own log: what the master and its children say about themselves, a line each, on standard error.

    2025-01-31T12:00:00.123+01:00 info  [4711] backend http://10.0.0.1:80 of shop/ is down: connection refused (4 of 4 probes
    failed)

gunicorn wants a logger class of a certain shape (`Logger`); this one keeps the shape and writes the lines itself. Access lines
are not its business (`terraster.logs.access`). Standard error is what systemd, containers and terminals collect; nothing is lost
at a rotation, because there is no file.

Nobody waits for whoever reads it: a pager that was stopped, or a pipe that nobody empties, must not stop the load balancer.
`terraster.logs.sink` writes the lines, keeps what the reader is too slow for and counts what that cannot hold; as soon as there is
room again a line says how many were lost.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from gunicorn.glogging import Logger

from .sink import Sink

__all__ = ["LEVELS", "ProgramLog"]

LEVELS = ("debug", "info", "warning", "error", "critical")


class _Line(logging.Formatter):
    """One record as one line; the traceback of an exception follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_timestamp(record.created)} {record.levelname.lower():<5} [{record.process}] {record.getMessage()}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


class _StandardError(logging.Handler):
    """Lines to standard error, without ever waiting."""

    _gunicorn = True  # so that gunicorn removes it where it removes its own

    def __init__(self) -> None:
        super().__init__()
        self.sink = Sink("-", lambda _warning: None, must=False, standard=2)
        self._told = 0  # lost lines that were told of

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # a message whose arguments do not fit it
            self.handleError(record)
            return
        self.sink.write(f"{line}\n".encode(errors="backslashreplace"))
        self.flush()

    def flush(self) -> None:
        """Try to get rid of what waits."""
        if self.sink.pending:
            self.sink.write(b"")
        lost = self.sink.dropped - self._told
        if lost and not self.sink.pending:
            self._told = self.sink.dropped
            stamp = f"{_timestamp(time.time())} warning [{os.getpid()}]"
            self.sink.write(f"{stamp} {lost} line{'s' * (lost != 1)} of this log lost: nobody read them\n".encode())


class _Stream:
    """What gevent prints of an exception that ended a greenlet, a line of the log for each of its lines."""

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
        """Nothing waits but the beginning of a line."""


def _timestamp(seconds: float) -> str:
    """RFC 3339 with milliseconds, in local time."""
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{int(seconds % 1 * 1000):03d}{zone[:3]}:{zone[3:]}"


class ProgramLog(Logger):  # type: ignore[misc]
    """The logger class of every process. Inherited over the fork; holds no file of its own unless ``errorlog`` names one."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in list(self.error_log.handlers):
            if type(handler) is logging.StreamHandler:
                self.error_log.removeHandler(handler)
                self.error_log.addHandler(_StandardError())
        for handler in self.error_log.handlers:
            handler.setFormatter(_Line())

    def stream(self) -> _Stream:
        """For a hub's ``exception_stream``, which would wait for the reader of standard error otherwise."""
        return _Stream(self)

    def flush(self) -> None:
        """Try to write what waits for a slow reader. Called a few times a minute at least; never waits."""
        for handler in self.error_log.handlers:
            handler.flush()

    def forked(self) -> None:
        """In a child: what the parent has yet to write is the parent's."""
        for sink in self._sinks():
            sink.forget()

    def close(self) -> None:
        """At the end of a process: give a slow reader its last chance, for half a second."""
        for sink in self._sinks():
            sink.close()

    def _sinks(self) -> list[Sink]:
        return [handler.sink for handler in self.error_log.handlers if isinstance(handler, _StandardError)]

    def set_level(self, level: str) -> None:
        """Change the level at run time: one of `LEVELS`."""
        self.loglevel = self.LOG_LEVELS[level]
        self.error_log.setLevel(self.loglevel)
