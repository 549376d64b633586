"""Loggers as frozen values: encodings, sampling, rotation, the program's own logger; and which logger speaks for an access log.

where lines go      `access_log.path` of the location or service, else logger `log_name`, else `service_default`, else the top's
how they are made   `access_log.format` of the location or service, else `encodingConfig` of the logger, else the top's format
which are written   the `level` of the logger, `access_log.when` and `access_log.sample`, `access_log.when` and `access_log.sample`
what is masked      `access_log` and `sanitization` of the logger, both
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from . import descriptors

if TYPE_CHECKING:
    from .messages import Complaint
    from .settings.logs import EncodingConfig, LoggerSettings

__all__ = [
    "BY_LOGGER",
    "AccessLog",
    "DEFAULT",
    "Encoding",
    "PROGRAM",
    "ProgramLogger",
    "Rotation",
    "Sampling",
    "access",
    "program",
    "says_where",
    "unrotatable",
]

PROGRAM, DEFAULT = "terraster", "service_default"
"""The names of the program's own logger and of the logger of services."""

BY_LOGGER = 2.0
"""`AccessLog.sample` where the sampling of the logger holds."""

_LEAST = {"debug": 0, "info": 0, "warn": 400, "warning": 400, "error": 500}
"""The least status that a level lets through: an access line is an error from 500 on, a warning from 400 on."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is replaced, and how long the replaced ones are kept. size: octets. backups: files, 0 = all. age: seconds, 0 = for ever."""

    size: int
    backups: int = 0
    age: float = 0.0
    compress: bool = False


@dataclass(frozen=True, slots=True)
class Sampling:
    """Of equal lines in one second, the first ``initial`` are written, and then each ``thereafter``-th; 0: none of those."""

    initial: int
    thereafter: int


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a line of JSON is written: its keys ("" leaves one out), its end, and the forms of values."""

    time_key: str = "time"
    level_key: str = "level"
    name_key: str = "logger"
    caller_key: str = "caller"
    function_key: str = ""
    message_key: str = "msg"
    stacktrace_key: str = "stacktrace"
    line_ending: str = "\n"
    level_encoder: str = "lowercase"
    time_encoder: str = "iso8601"
    duration_encoder: str = "seconds"
    caller_encoder: str = "short"
    name_encoder: str = "full"


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Where a service's access lines go. ``path``: "" = off, "-" = standard output, else a file or a form of `log_targets`. ``format``:
    "json", the name of a format, or a format string."""

    path: str = "-"
    format: str = "json"
    fields: tuple[str, ...] = ()  # json: the fields to write, () = all
    redact_query: tuple[str, ...] = ("password", "token", "access_token", "refresh_token", "api_key", "secret")
    mask: str = "****"
    others: tuple[str, ...] = ()  # further destinations of the same lines
    errors: tuple[str, ...] = ()  # where lines of level error go as well
    least: int = 0  # the least status that is logged
    logger: str = "service_default"  # name in the lines of an encoding
    encoding: Encoding | None = None  # json: keys and forms; None = those of `log_format`
    headers: bool = False  # json: with the fields of the request
    query: bool | None = None  # json: with the parameters of the query; False: no line has the query
    trace: bool = False  # json: with the ids of trace and span
    rotation: Rotation | None = None
    when: str = ""  # `log_when`: a condition for a line; "" = none
    sample: float = 1.0  # the share of lines below level error that is written
    sampling: Sampling | None = None

    def files(self) -> list[str]:
        """The destinations that are files."""
        return _files((self.path, *self.others, *self.errors))


@dataclass(frozen=True, slots=True)
class ProgramLogger:
    """The program's own log.

    paths:     where lines go; () = standard error
    errors:    where lines of level error go as well
    console:   True if lines go to standard error too, as text
    encoding:  of lines that do not go to the console; None = text as on the console
    json:      True if these lines are JSON
    traceback: True if warnings say where in the code they arose
    masked:    fields whose values are masked, in small letters
    """

    paths: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    console: bool = False
    encoding: Encoding | None = None
    json: bool = False
    traceback: bool = False
    sampling: Sampling | None = None
    rotation: Rotation | None = None
    masked: tuple[str, ...] = ()
    mask: str = "****"

    def files(self) -> list[str]:
        """The destinations that are files."""
        return _files((*self.paths, *self.errors))


def program(logger: LoggerSettings | None) -> ProgramLogger:
    """The program's own log. logger: what `loggers` says about it"""
    if logger is None:
        return ProgramLogger()
    rule = logger.sanitization
    return ProgramLogger(
        paths=logger.output_paths,
        errors=logger.error_output_paths,
        console=logger.log_to_console,
        encoding=None if logger.encoding_config is None else _encoding(logger.encoding_config),
        json=_is_json(logger),
        traceback=logger.development,
        sampling=_sampling(logger),
        rotation=_rotation(logger),
        masked=() if rule is None else tuple(name.lower() for name in rule.sensitive_fields),
        mask=(rule.mask if rule is not None else None) or ProgramLogger().mask,
    )


def access(log: AccessLog, loggers: Mapping[str, LoggerSettings], name: str | None, written: Mapping[str, Any]) -> AccessLog:
    """An access log with what its logger says laid over it.

    name:    `log_name` of the service. written: the keys of `access_log` that were written for the service or location
    """
    logger = loggers.get(name or DEFAULT) or loggers.get(DEFAULT)
    sampled = (None if logger is None else _sampling(logger)) or Sampling(100, 100)
    log = replace(log, logger=name or DEFAULT, sampling=sampled if log.sample == BY_LOGGER else None)
    if logger is None:
        return _rotated(log, loggers)
    if "path" not in written:
        where = next((one for one in (logger, loggers.get(DEFAULT)) if one is not None and says_where(one)), None)
        log = log if where is None else _sent(log, where)
    if "format" not in written and _is_json(logger):
        log = replace(log, format="json", encoding=_encoding(logger.encoding_config))
    rule = logger.sanitization
    if rule is not None:
        fields = tuple(dict.fromkeys((*log.redact_query, *rule.sensitive_fields)))
        log = replace(log, redact_query=fields, mask=written.get("mask") or rule.mask or log.mask)
    return _rotated(replace(log, least=_LEAST[logger.level or "info"]), loggers)


def unrotatable(loggers: Mapping[str, LoggerSettings]) -> Iterator[Complaint]:
    """Complain of the files whose directory has no room for backups."""
    for name, logger in loggers.items():
        for path, file in logger.files(("loggers", name)) if _rotation(logger) is not None else ():
            folder = os.path.dirname(file)
            if descriptors.behind(file) is None and os.path.exists(file) and not os.access(folder, os.W_OK | os.X_OK):
                yield path, False, f"the log {file} cannot be rotated: no file can be created in {folder}"


def says_where(logger: LoggerSettings) -> bool:
    """True if a logger names a destination of lines."""
    return bool(logger.output_paths or logger.log_to_console)


def _files(paths: tuple[str, ...]) -> list[str]:
    return [path for path in dict.fromkeys(paths) if path.startswith("/") and descriptors.number(path) is None]


def _sent(log: AccessLog, logger: LoggerSettings) -> AccessLog:
    """The log with the destinations of a logger."""
    console = (descriptors.STDOUT,) if logger.log_to_console else ()
    first, *others = dict.fromkeys((*logger.output_paths, *console))
    return replace(log, path=first, others=tuple(others), errors=logger.error_output_paths, rotation=_rotation(logger))


def _rotated(log: AccessLog, loggers: Mapping[str, LoggerSettings]) -> AccessLog:
    """The log with the rotation of the logger that writes to the same file, if it has none itself: all who write to a file take part in its
    rotation, or lines would get into a backup that is being compressed."""
    if log.rotation is None:
        for logger in loggers.values():
            if _rotation(logger) is not None and not {*logger.output_paths, *logger.error_output_paths}.isdisjoint(log.files()):
                return replace(log, rotation=_rotation(logger))
    return log


def _is_json(logger: LoggerSettings) -> bool:
    return logger.encoding == "json" or (logger.encoding is None and logger.encoding_config is not None)


def _encoding(written: EncodingConfig | None) -> Encoding:
    if written is None:
        return Encoding()
    given = {name: getattr(written, name) for name in written.model_fields_set}
    return replace(Encoding(), **{name: value for name, value in given.items() if value is not None})


def _sampling(logger: LoggerSettings) -> Sampling | None:
    rule = logger.sampling
    return None if rule is None else Sampling(rule.initial, rule.thereafter)


def _rotation(logger: LoggerSettings) -> Rotation | None:
    rule = logger.log_rotation
    if rule is None or not rule.enabled:
        return None
    return Rotation(rule.max_size_mb << 20, rule.max_backups, rule.max_age_days * 86400.0, rule.compress)
