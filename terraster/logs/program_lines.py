"""One event of the program's own log as a line: text for people, JSON for programs, or a text for systemd's journal.

    2025-01-31T12:00:00.123+01:00 info  [4711] backend http://10.0.0.1:80 of shop/ is down: connection refused (4 of 4 probes failed)
    {"time":"2025-01-31T12:00:00.123+01:00","level":"info","logger":"terraster","caller":"backends/prober.py:71","msg":"backend …","pid":4711}
    <6>backend http://10.0.0.1:80 of shop/ is down: connection refused (4 of 4 probes failed)

A traceback follows a text on further lines; in JSON it is a value. Control characters of a text appear as escapes.
"""

from __future__ import annotations

import json
import logging
import re

from ..config.loggers import PROGRAM, Encoding
from . import journal
from .encoding import level_word, stamp
from .sanitizer import Sanitizer

__all__ = ["JournalLine", "JsonLine", "Line"]

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class Line(logging.Formatter):
    """An event as text. sanitizer: masks what must not be seen; None: nothing. encoding: the forms of time and level; None: the usual ones"""

    def __init__(self, sanitizer: Sanitizer | None = None, encoding: Encoding | None = None) -> None:
        super().__init__()
        self._sanitizer = sanitizer
        self._encoding = encoding

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join((f"{self._head(record)}{_plain(self.message(record))}", *map(_plain, self.traceback(record))))

    def message(self, record: logging.LogRecord) -> str:
        """The text of the event."""
        text = record.getMessage()
        return text if self._sanitizer is None else self._sanitizer.text(text)

    def traceback(self, record: logging.LogRecord) -> list[str]:
        """The traceback of its exception, or the place where it arose if that was asked for; none otherwise."""
        found = self.formatException(record.exc_info) if record.exc_info else record.stack_info
        if not found:
            return []
        return [found if self._sanitizer is None else self._sanitizer.text(found)]

    def _head(self, record: logging.LogRecord) -> str:
        form = self._encoding
        if form is None:
            return f"{stamp(record.created, 'iso8601')} {record.levelname.lower():<5} [{record.process}] "
        parts = (
            (form.time_key, stamp(record.created, form.time_encoder)),
            (form.level_key, f"{level_word(record.levelno, form.level_encoder):<5}"),
            (form.name_key, PROGRAM),
            ("pid" if form.time_key or form.level_key or form.name_key else "", f"[{record.process}]"),
            (form.caller_key, _caller(record, form)),
            (form.function_key, record.funcName),
        )
        return "".join(f"{value} " for key, value in parts if key)


class JournalLine(Line):
    """An event for the journal, which has time and process itself. Each of its lines has the priority."""

    def format(self, record: logging.LogRecord) -> str:
        return journal.prioritized("\n".join(map(_plain, (self.message(record), *self.traceback(record)))), record.levelno)


class JsonLine(Line):
    """An event as an object of JSON. prioritized: with its priority in front, for the journal"""

    def __init__(self, encoding: Encoding, sanitizer: Sanitizer | None = None, prioritized: bool = False) -> None:
        super().__init__(sanitizer, encoding)
        self._form = encoding
        self._prioritized = prioritized

    def format(self, record: logging.LogRecord) -> str:
        form = self._form
        fields = {
            form.time_key: stamp(record.created, form.time_encoder),
            form.level_key: level_word(record.levelno, form.level_encoder),
            form.name_key: PROGRAM,
            form.caller_key: _caller(record, form),
            form.function_key: record.funcName,
            form.message_key: self.message(record),
            "pid": record.process,
        }
        for traceback in self.traceback(record):
            fields[form.stacktrace_key] = traceback
        fields.pop("", None)
        text = json.dumps(fields, separators=(",", ":"))
        text = journal.prioritized(text, record.levelno) if self._prioritized else text
        return text + form.line_ending.removesuffix("\n")


def _plain(text: str) -> str:
    """A text that cannot control a terminal: what a plugin or a library says may repeat octets of a client."""
    return text if text.isprintable() else _CONTROLS.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _caller(record: logging.LogRecord, form: Encoding) -> str:
    place = record.pathname
    if form.caller_encoder == "short":
        place = "/".join(place.split("/")[-2:])
    return f"{place}:{record.lineno}"
