"""Logs: the access log of services, and the loggers of a JSON log file."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema
from pydantic.alias_generators import to_camel

from .. import descriptors, log_format, log_targets, log_when, loggers, quantities, scalars
from ..snapshot import AccessLog
from .base import Model, Names, Text, Whole, file_path, items, text
from .switches import OFF_SCHEMA, OrText, OrWord, switched

__all__ = ["AccessLogSettings", "AccessLogSetting", "EncodingConfig", "LogOptions", "LoggerSettings"]

_ACCESS_LOG = AccessLog()


def _log_path(value: object, info: ValidationInfo) -> str:
    if value == "" or scalars.is_off(value):
        return ""
    if scalars.truth(value):
        raise ValueError("must be `stdout`, `stderr`, `off` or a file")
    if isinstance(value, str) and log_targets.remote(value) is not None:
        return value
    descriptor = descriptors.number(value) if isinstance(value, str) else None
    if descriptor is not None:
        return descriptors.spelt(descriptor)
    return file_path(text(value), info)


def _shorthand(value: object) -> object:
    if scalars.truth(value):
        raise ValueError("must be `stdout`, `stderr`, `off`, a file or a mapping")
    return {"path": value} if isinstance(value, str | bool) else value


LogPath = Annotated[str, BeforeValidator(_log_path), WithJsonSchema({"anyOf": [{"type": "string"}, OFF_SCHEMA]})]


def _log_format(value: object) -> str:
    written = text(value)
    if written != "json":
        log_format.parts(written)
    return written


def _log_fields(value: object) -> object:
    return items(value, "the name of a field")


LogField = Annotated[Text, AfterValidator(log_format.field)]
LogFields = Annotated[
    tuple[LogField, ...],
    BeforeValidator(_log_fields),
    WithJsonSchema({"anyOf": [{"enum": list(log_format.FIELDS)}, {"type": "array", "items": {"enum": list(log_format.FIELDS)}}]}),
]


def _condition(value: object) -> str:
    written = text(value)
    log_when.read(written)
    return written


def _sample(value: object) -> float:
    said = scalars.truth(value)
    if said is not None:
        return loggers.BY_LOGGER if said else 1.0
    share = quantities.share(value)
    if not 0 < share <= 1:
        raise ValueError("must be `on`, `off`, or more than 0 and at most 100%")
    return share


Condition = Annotated[str, BeforeValidator(_condition), WithJsonSchema({"type": "string"})]
Sample = Annotated[
    float, BeforeValidator(_sample), WithJsonSchema({"anyOf": [{"type": ["string", "number"]}, OFF_SCHEMA, {"enum": [True]}]})
]
LogFormat = Annotated[str, BeforeValidator(_log_format), WithJsonSchema({"type": "string"})]


class AccessLogSettings(Model):
    """Where access lines go and what they hold. Each key is inherited on its own: service over top over default."""

    path: LogPath | None = Field(
        None,
        description="`stdout`, `stderr`, `off`, a file (relative to the directory of the file that names it), `syslog:/dev/log`, "
        "`syslog+udp://HOST:PORT`, `syslog+tcp://HOST:PORT` or `journald`. Default: stdout.",
    )
    format: LogFormat = Field(_ACCESS_LOG.format, description="`json`, `combined`, `common`, or a format string with `{field}`.")
    fields: LogFields | None = Field(None, description="Fields of a JSON line, in this order. Default: all.")
    redact_query: Names | None = Field(
        None,
        description="Query keys whose values are masked. Default: password, token, access_token, refresh_token, api_key, secret.",
    )
    mask: Text = Field(
        _ACCESS_LOG.mask,
        description="Text in place of a masked value. The service's own comes first, then that of its logger, then the top's.",
    )

    when: Condition | None = Field(
        None, description="Condition for a line: `status >= 500 or duration > 1s`. Default: all are written."
    )
    sample: Sample | None = Field(
        None,
        description="Share of the lines that is written, `10%`; `on`: by `sampling` of the logger. All lines of level `error` are written. "
        "Default: off.",
    )


AccessLogSetting = Annotated[AccessLogSettings, BeforeValidator(_shorthand), OrText()]


class LogOptions(Model):
    """Optional parts of access lines."""

    headers: bool = Field(False, description="JSON lines have the fields of the request, `headers`; secrets are masked.")
    query_params: bool | None = Field(
        None,
        description="`true`: JSON lines have the parameters of the query, `query_params`; `false`: no line has the query. Default: "
        "the query is in `uri` only.",
    )
    trace: bool = Field(False, description="JSON lines have `trace_id` and `span_id`, those of `tracing`.")


class _Camel(Model):
    """A mapping whose keys are spelt in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel)


class SamplingSettings(_Camel):
    """Which of many equal lines are kept."""

    initial: Annotated[Whole, Field(ge=0)] = Field(100, description="Equal lines that a process writes in a second.")
    thereafter: Annotated[Whole, Field(ge=0)] = Field(100, description="After those, every n-th is written; 0: none.")


class _Word:
    """A validator: one of these words, in any case."""

    def __init__(self, known: tuple[str, ...]) -> None:
        self._known = known
        self._spellings = {word.lower(): word for word in known}

    def __call__(self, value: object) -> str:
        written = text(value)
        word = self._spellings.get(written.lower())
        if word is None:
            near = difflib.get_close_matches(written, self._known, 1, 0.6)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise ValueError(f"must be one of {', '.join(f'`{one}`' for one in self._known)}, not {written!r}{hint}")
        return word


_LEVELS = ("lowercase", "capital", "color", "capitalColor")
_TIMES = ("iso8601", "rfc3339", "rfc3339nano", "epoch", "millis", "nanos")
_DURATIONS = ("seconds", "string", "ms", "nanos")
_CALLERS = ("short", "full")


def _ending(value: object) -> str:
    if not isinstance(value, str) or not value.endswith("\n") or value.strip("\r\n"):
        raise ValueError("must be a newline, or a carriage return and a newline")
    return value


LineEnding = Annotated[str, BeforeValidator(_ending), WithJsonSchema({"type": "string"})]
LevelEncoder = Annotated[str, BeforeValidator(_Word(_LEVELS)), WithJsonSchema({"enum": list(_LEVELS)})]
TimeEncoder = Annotated[str, BeforeValidator(_Word(_TIMES)), WithJsonSchema({"enum": list(_TIMES)})]
DurationEncoder = Annotated[str, BeforeValidator(_Word(_DURATIONS)), WithJsonSchema({"enum": list(_DURATIONS)})]
CallerEncoder = Annotated[str, BeforeValidator(_Word(_CALLERS)), WithJsonSchema({"enum": list(_CALLERS)})]
NameEncoder = Annotated[str, BeforeValidator(_Word(("full",))), WithJsonSchema({"enum": ["full"]})]


class EncodingConfig(_Camel):
    """How lines are written."""

    time_key: str = Field("time", description='Key of the time. As with all of these keys, `""` leaves it out.')
    level_key: str = Field("level", description="Key of the level.")
    name_key: str = Field("logger", description="Key of the logger's name; for access lines that of `log_name`.")
    caller_key: str = Field("caller", description="Key of the place in the code; access lines have none.")
    function_key: str = Field("", description="Key of the function's name; access lines have none. Default: none.")
    message_key: str = Field("msg", description="Key of the message; for access lines it is `request`.")
    stacktrace_key: str = Field("stacktrace", description="Key of the traceback; access lines have none.")
    line_ending: LineEnding | None = Field(
        None, description="End of a line: a newline, or a carriage return and a newline. Default: a newline."
    )
    level_encoder: LevelEncoder = Field("lowercase", description="How levels are spelt: lowercase, capital, color, capitalColor.")
    time_encoder: TimeEncoder = Field(
        "iso8601", description="How times are written: iso8601, rfc3339, rfc3339nano, epoch, millis, nanos."
    )
    duration_encoder: DurationEncoder = Field(
        "seconds", description="How durations are written: seconds, string (`1.5ms`), ms, nanos."
    )
    caller_encoder: CallerEncoder = Field("short", description="How places in the code are written: short, full.")
    name_encoder: NameEncoder = Field("full", description="How the logger's name is written: full.")


class LogRotation(_Camel):
    """When a log file is replaced by a new one."""

    enabled: bool = Field(True, description="Rotate files.")
    max_size_mb: Annotated[Whole, Field(ge=1)] = Field(100, alias="maxSizeMB", description="Size that ends a file; MiB.")
    max_backups: Annotated[Whole, Field(ge=0)] = Field(0, description="Old files kept; 0: all.")
    max_age_days: Annotated[Whole, Field(ge=0)] = Field(0, description="Days an old file is kept; 0: for ever.")
    compress: bool = Field(False, description="Compress old files with gzip.")


class Sanitization(_Camel):
    """Values that are masked in log lines."""

    sensitive_fields: Names = Field(
        (),
        description="Parameters of queries, header fields and keys of JSON whose values are masked, beside those of `access_log`.",
    )
    mask: Text | None = Field(None, description="Text in place of masked values. Default: `****`.")


def _destination(value: object, info: ValidationInfo) -> str:
    written = _log_path(value, info)
    if not written:
        raise ValueError("must be `stdout`, `stderr`, a file, syslog or `journald`")
    return written


def _destinations(value: object, info: ValidationInfo) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_destination(one, info) for one in items(value, "a destination")))


Destinations = Annotated[
    tuple[str, ...],
    BeforeValidator(_destinations),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class LoggerSettings(_Camel):
    """One logger: `terraster` is the program's own, `service_default` the services', others are named by `log_name`."""

    level: Literal["debug", "info", "warn", "warning", "error"] | None = Field(
        None,
        description="Least level that is written. For `terraster` it is the default of `log_level`. An access line is `error` from status 500 "
        "on, `warn` from 400 on, else `info`. Default: info.",
    )
    output_paths: Destinations = Field((), description="Where lines go: one or several of what `access_log.path` may be.")
    error_output_paths: Destinations = Field((), description="Where lines of level `error` go as well.")
    log_to_console: bool = Field(
        False,
        description="Write lines to the terminal too: access lines to standard output, those of `terraster` to standard error, as text.",
    )
    development: bool = Field(False, description="For `terraster`: warnings say where in the code they arose.")
    sampling: SamplingSettings | None = Field(None, description="Which of many equal lines are written; of the log of the program.")
    encoding: Literal["json", "text"] | None = Field(
        None,
        description="`json` or `text`; for access lines `text` is `access_log.format`. Default: json with `encodingConfig`, else text.",
    )
    encoding_config: EncodingConfig | None = Field(None, description="How lines are written.")
    log_rotation: Annotated[LogRotation, BeforeValidator(switched), OrWord()] | None = Field(
        None, description="When a log file is replaced by a new one."
    )
    sanitization: Sanitization | None = Field(None, description="Values that are masked in lines.")

    def files(self, path: tuple[str | int, ...]) -> list[tuple[tuple[str | int, ...], str]]:
        """The destinations that must be writable, each with its path; ``path`` is that of the logger."""
        lists = (("outputPaths", self.output_paths), ("errorOutputPaths", self.error_output_paths))
        return [
            ((*path, key, index), where)
            for key, listed in lists
            for index, where in enumerate(listed)
            if where != descriptors.STDOUT and not log_targets.is_remote(where)
        ]
