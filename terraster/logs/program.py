"""The program's own log: events of the master and its children, one line each (`terraster.logs.program_lines`).

They go to standard error, which systemd, containers and terminals collect, or where logger `terraster` says.

gunicorn requires a logger class with the interface of `Logger`. This class has that interface and writes the lines itself. Access lines
are written by `terraster.logs.access`.

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

from ..config import descriptors
from ..config.descriptors import STDERR
from ..config.log_targets import is_remote, remote
from ..config.loggers import Encoding, ProgramLogger, Rotation, Sampling
from ..state.cells import Seat
from . import journal
from .losses import Losses
from .messages import JournalMessages, SyslogMessages
from .outlets import sink
from .program_lines import JournalLine, JsonLine, Line
from .receiver import Receiver
from .sampling import chosen
from .sanitizer import Sanitizer

__all__ = ["LEVELS", "ProgramLog"]

_BARE = Encoding(time_key="", level_key="", name_key="", caller_key="")
"""Of a text for a receiver that adds the rest itself."""

LEVELS = ("debug", "info", "warning", "error", "critical")


class _Outlet(logging.Handler):
    """Writes lines to one destination and never waits. level: of `logging`, the least that goes there"""

    _gunicorn = True  # gunicorn removes handlers that have this mark

    def __init__(self, path: str, form: logging.Formatter, rotation: Rotation | None, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.setFormatter(form)
        self.sink: Any = self._sink(path, rotation)
        self._reported = 0  # lost lines that were reported

    def _sink(self, path: str, rotation: Rotation | None) -> Any:
        return sink(path, rotation, _unsaid, False)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # a message whose arguments do not fit it
            self.handleError(record)
            return
        self._put(record, line)
        self.flush()

    def _put(self, record: logging.LogRecord, line: str) -> None:
        self.sink.write(f"{line}\n".encode(errors="backslashreplace"))

    def flush(self) -> None:
        """Try to write the lines that wait for the reader, and look after the file."""
        self.sink.tend(time.monotonic())
        lost = self.sink.losses.lines - self._reported
        if lost and not self.sink.pending and not self.sink.troubled:
            self._reported = self.sink.losses.lines
            why = os.strerror(self.sink.losses.why) if self.sink.losses.why else "the reader was too slow"
            text = f"{lost} line{'s' * (lost != 1)} of this log lost: {why}"
            record = logging.LogRecord("", logging.WARNING, "", 0, text, None, None)
            self._put(record, self.format(record))

    def forked(self) -> None:
        """Called in a child: the parent writes the lines that wait, and counts those that it lost."""
        self.sink.forget()
        self._reported = 0


class _RemoteOutlet(_Outlet):
    """Sends lines to a syslog daemon or to systemd's journal."""

    def _sink(self, path: str, rotation: Rotation | None) -> Receiver:
        target = remote(path)
        assert target is not None
        self._syslog = SyslogMessages(target.facility, "-") if target.kind == "syslog" else None
        return Receiver(target, _unsaid)

    def _put(self, record: logging.LogRecord, line: str) -> None:
        level = journal.priority(record.levelno)
        if self._syslog is not None:
            message = self._syslog.message(line, level, record.created)
        else:
            code = (("CODE_FILE", record.pathname), ("CODE_LINE", str(record.lineno)), ("CODE_FUNC", str(record.funcName)))
            message = JournalMessages.message(line, level, code)
        self.sink.send((message,))


def _unsaid(_warning: str) -> None:
    """The program's log reports its own losses, in the log itself."""


class _Sampler(logging.Filter):
    """Of equal lines of one second, lets through the first and then every n-th."""

    def __init__(self, rule: Sampling) -> None:
        super().__init__()
        self._rule = rule
        self._second = 0
        self._seen: dict[tuple[int, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._seen.clear()
        try:
            line = record.levelno, record.getMessage()
        except Exception:  # a message whose arguments do not fit it: the handler says so
            return True
        count = self._seen[line] = self._seen.get(line, 0) + 1
        return chosen(count, self._rule)


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


class ProgramLog(Logger):  # type: ignore[misc]
    """The logger class of every process. Children inherit it over the fork. It opens a file only if ``errorlog`` names one."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self._config: ProgramLogger | None = None
        self._lost: list[Losses] = []  # of all destinations, those of earlier configurations too
        self._stacks = False
        for handler in list(self.error_log.handlers):
            if type(handler) is logging.StreamHandler:
                self.error_log.removeHandler(handler)
        self.configure(ProgramLogger())

    def configure(self, config: ProgramLogger) -> None:
        """Write where and how the configuration says from now on. Never fails: lines are lost until a destination can be opened."""
        if config == self._config:
            return
        self._config = config
        for handler in self._handlers():
            self.error_log.removeHandler(handler)
            handler.sink.close()
        for outlet in _outlets(config):
            self._lost.append(outlet.sink.losses)
            self.error_log.addHandler(outlet)
        self.error_log.filters = [] if config.sampling is None else [_Sampler(config.sampling)]
        self._stacks = config.traceback

    def debug(self, msg: Any, *args: Any, **more: Any) -> None:
        self.error_log.debug(msg, *args, stacklevel=2, **more)

    def info(self, msg: Any, *args: Any, **more: Any) -> None:
        self.error_log.info(msg, *args, stacklevel=2, **more)

    def warning(self, msg: Any, *args: Any, **more: Any) -> None:
        self.error_log.warning(msg, *args, stacklevel=2, stack_info=self._stacks, **more)

    def error(self, msg: Any, *args: Any, **more: Any) -> None:
        self.error_log.error(msg, *args, stacklevel=2, stack_info=self._stacks, **more)

    def critical(self, msg: Any, *args: Any, **more: Any) -> None:
        self.error_log.critical(msg, *args, stacklevel=2, stack_info=self._stacks, **more)

    def exception(self, msg: Any, *args: Any, **more: Any) -> None:
        self.error_log.exception(msg, *args, stacklevel=2, **more)

    def reopen_files(self) -> None:
        """Open the files again by their names, after a rotation."""
        for handler in self._handlers():
            handler.sink.reopen()

    def stream(self) -> _Stream:
        """A stream for a hub's ``exception_stream``. The hub's default would wait for the reader of standard error."""
        return _Stream(self)

    def flush(self) -> None:
        """Try to write the lines that wait for a slow reader. Never waits. Called at least a few times a minute."""
        for handler in self.error_log.handlers:
            handler.flush()

    def forked(self) -> None:
        """Called in a child: drop the lines that the parent still has to write, and the count of those that it lost."""
        for losses in self._lost:
            losses.reset()
        for handler in self._handlers():
            handler.forked()

    def close(self) -> None:
        """Called when a process ends: give a slow reader half a second for the last lines."""
        for handler in self._handlers():
            handler.sink.close()

    def publish(self, q: memoryview, seat: int, wall: float) -> None:
        """Publish the lost lines of this process in its seat, with the arguments of `Losses.publish`."""
        for losses in self._lost:
            losses.publish(q, seat, Seat.PROGRAM_LINES_LOST, wall)

    def _handlers(self) -> list[_Outlet]:
        return [handler for handler in self.error_log.handlers if isinstance(handler, _Outlet)]

    def set_level(self, level: str) -> None:
        """Change the level at run time. level: one of `LEVELS`"""
        self.loglevel = self.LOG_LEVELS[level]
        self.error_log.setLevel(self.loglevel)


def _outlets(config: ProgramLogger) -> list[_Outlet]:
    """The destinations of a program's log, each once. The terminal gets text."""
    sanitizer = Sanitizer(config.masked, config.mask) if config.masked else None
    paths = config.paths or (() if config.console else (STDERR,))
    made = [_outlet(path)(path, _form(path, config, sanitizer), config.rotation) for path in paths]
    if config.console and STDERR not in paths:
        made.append(_Outlet(STDERR, _text(STDERR, sanitizer, None), None))
        paths = (*paths, STDERR)
    return made + [
        _Outlet(path, _form(path, config, sanitizer), config.rotation, logging.ERROR) for path in config.errors if path not in paths
    ]


def _outlet(path: str) -> type[_Outlet]:
    return _RemoteOutlet if is_remote(path) else _Outlet


def _form(path: str, config: ProgramLogger, sanitizer: Sanitizer | None) -> Line:
    if is_remote(path):  # which have time and process themselves
        return JsonLine(config.encoding or Encoding(), sanitizer) if config.json else Line(sanitizer, _BARE)
    if config.json:
        return JsonLine(config.encoding or Encoding(), sanitizer, _is_journal(path))
    return _text(path, sanitizer, config.encoding)


def _text(path: str, sanitizer: Sanitizer | None, encoding: Encoding | None) -> Line:
    return JournalLine(sanitizer) if _is_journal(path) else Line(sanitizer, encoding)


def _is_journal(path: str) -> bool:
    """True if systemd's journal reads what is written there."""
    descriptor = descriptors.behind(path)
    return descriptor is not None and journal.behind(descriptor, os.environ)
