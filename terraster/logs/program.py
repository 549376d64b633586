"""The program's own log: what the master and its children say about themselves, a line each, on standard error.

    2025-01-31T12:00:00.123+01:00 info  [4711] backend http://10.0.0.1:80 of shop/ is down: connection refused (4 of 4 probes
    failed)

gunicorn wants a logger class of a certain shape (`Logger`); this one keeps the shape and writes the lines itself. Access lines
are not its business (`terraster.logs.access`). Standard error is what systemd, containers and terminals collect; nothing is lost
at a rotation, because there is no file.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from gunicorn.glogging import Logger

__all__ = ["LEVELS", "ProgramLog"]

LEVELS = ("debug", "info", "warning", "error", "critical")


class _Line(logging.Formatter):
    """One record as one line; the traceback of an exception follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_timestamp(record.created)} {record.levelname.lower():<5} [{record.process}] {record.getMessage()}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


def _timestamp(seconds: float) -> str:
    """RFC 3339 with milliseconds, in local time."""
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{int(seconds % 1 * 1000):03d}{zone[:3]}:{zone[3:]}"


class ProgramLog(Logger):  # type: ignore[misc]
    """The logger class of every process. Inherited over the fork; holds no file of its own unless ``errorlog`` names one."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(_Line())

    def set_level(self, level: str) -> None:
        """Change the level at run time: one of `LEVELS`."""
        self.loglevel = self.LOG_LEVELS[level]
        self.error_log.setLevel(self.loglevel)
