"""Logs: the access log of services, and the loggers of a JSON log file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema
from pydantic.alias_generators import to_camel

from .. import descriptors, log_format, scalars
from ..snapshot import AccessLog
from .base import Model, Names, Text, Whole, file_path, items, later, text
from .switches import OFF_SCHEMA, OrText, OrWord, switched

__all__ = ["AccessLogSettings", "AccessLogSetting", "LogOptions", "LoggerSettings"]

_ACCESS_LOG = AccessLog()


def _log_path(value: object, info: ValidationInfo) -> str:
    if value == "" or scalars.is_off(value):
        return ""
    if scalars.truth(value):
        raise ValueError("must be `stdout`, `stderr`, `off` or a file")
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
LogFormat = Annotated[str, BeforeValidator(_log_format), WithJsonSchema({"type": "string"})]


class AccessLogSettings(Model):
    """Where access lines go and what they hold. Each key is inherited on its own: service over top over default."""

    path: LogPath | None = Field(
        None,
        description="`stdout`, `stderr`, `off`, or a file, relative to the directory of the file that names it. Default: stdout.",
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


AccessLogSetting = Annotated[AccessLogSettings, BeforeValidator(_shorthand), OrText()]


class LogOptions(Model):
    """Optional parts of access lines."""

    headers: bool = Field(False, description="Log request headers.")
    query_params: bool = Field(False, description="Log query parameters.")


class _Camel(Model):
    """A mapping whose keys are spelt in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel)


class Sampling(_Camel):
    """Which of many equal lines are kept."""

    initial: Annotated[Whole, Field(ge=0)] | None = Field(None, description="Equal lines kept in a second.")
    thereafter: Annotated[Whole, Field(ge=0)] | None = Field(None, description="After those, every n-th is kept.")


class EncodingConfig(_Camel):
    """How lines are written."""

    time_key: str | None = Field(None, description="Key of the time.")
    level_key: str | None = Field(None, description="Key of the level.")
    name_key: str | None = Field(None, description="Key of the logger's name.")
    caller_key: str | None = Field(None, description="Key of the place in the code.")
    function_key: str | None = Field(None, description="Key of the function's name.")
    message_key: str | None = Field(None, description="Key of the message.")
    stacktrace_key: str | None = Field(None, description="Key of the traceback.")
    line_ending: str | None = Field(None, description="End of a line. Default: a newline.")
    level_encoder: str | None = Field(None, description="How levels are spelt: lowercase, capital, …")
    time_encoder: str | None = Field(None, description="How times are written: iso8601, rfc3339, epoch, …")
    duration_encoder: str | None = Field(None, description="How durations are written: string, seconds, …")
    caller_encoder: str | None = Field(None, description="How places in the code are written: short, full.")
    name_encoder: str | None = Field(None, description="How the logger's name is written: full.")


class LogRotation(_Camel):
    """When a log file is replaced by a new one."""

    enabled: bool = Field(True, description="Rotate files.")
    max_size_mb: Annotated[Whole, Field(ge=1)] | None = Field(None, alias="maxSizeMB", description="Size that ends a file; MiB.")
    max_backups: Annotated[Whole, Field(ge=0)] | None = Field(None, description="Old files kept.")
    max_age_days: Annotated[Whole, Field(ge=0)] | None = Field(None, description="Days an old file is kept.")
    compress: bool = Field(False, description="Compress old files.")


class Sanitization(_Camel):
    """Values that are masked in access lines."""

    sensitive_fields: Names = Field((), description="Query keys whose values are masked, beside those of `access_log`.")
    mask: Text | None = Field(None, description="Text in place of masked values. Default: `****`.")


class LoggerSettings(_Camel):
    """One logger: `terraster` is the program's own, `service_default` the services', others are named by `log_name`."""

    level: Literal["debug", "info", "warn", "warning", "error"] | None = Field(
        None, description="Least level that is written; for `terraster` it is the default of `log_level`."
    )
    output_paths: Names = later((), description="Where lines go: stdout, stderr or files.")
    error_output_paths: Names = later((), description="Where errors go.")
    log_to_console: bool = later(False, description="Write lines to the terminal too.")
    development: bool = later(False, description="Add a traceback to warnings.")
    sampling: Sampling | None = later(description="Which of many equal lines are kept.")
    encoding_config: EncodingConfig | None = later(description="How lines are written.")
    log_rotation: Annotated[LogRotation, BeforeValidator(switched), OrWord()] | None = later(
        description="When a log file is replaced by a new one."
    )
    sanitization: Sanitization | None = Field(None, description="Values that are masked in the access log.")
