"""Tracing: spans of requests for OpenTelemetry."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from .. import quantities
from .base import FilePath, HeaderName, Model, Secret, SomeTime, Text
from .switches import OrWord, switched

__all__ = ["SamplingSetting", "SamplingSettings", "TracingSetting", "TracingSettings"]


def _endpoint(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be the URL of an OTLP receiver, like http://collector:4318")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user name or password: use `headers`")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be written in ASCII, without spaces")
    try:
        assert parts.port is None or parts.port
    except (ValueError, AssertionError):
        raise ValueError("must have a port from 1 to 65535") from None
    return value.rstrip("/") if parts.path == "/" else value


Sampler = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]
Ratio = Annotated[float, BeforeValidator(quantities.share), WithJsonSchema({"type": ["number", "string"]})]


class SamplingSettings(Model):
    """Which requests of a service are recorded as spans. Writing the block switches it on."""

    enabled: bool = Field(
        True, description="Record requests of this service. `off`: none, and the client's `traceparent` passes as it is."
    )
    sampler: Sampler | None = Field(None, description="Which requests are recorded. Default: the top's.")
    ratio: Ratio | None = Field(None, description="Part of the traces, for `traceidratio`: 0.01 or `1%`. Default: the top's.")


class TracingSettings(Model):
    """Records requests as spans, and sends these to an OTLP receiver. Needs `pip install 'terraster[tracing]'`."""

    enabled: bool = Field(True, description="Record requests, where a service does not say otherwise.")
    endpoint: Annotated[Text, AfterValidator(_endpoint)] | None = Field(
        None,
        description="URL of the receiver: `http://collector:4318`; one without a path gets /v1/traces with `protocol: http`.",
    )
    protocol: Literal["http", "grpc"] = Field("http", description="How OTLP is spoken: `http` (protobuf over HTTP), or `grpc`.")
    sampler: Sampler | None = Field(
        None,
        description="Which requests are recorded: `always_on`, `always_off`, `traceidratio`; behind `parentbased_` the client's `traceparent` "
        "decides if there is one. Default: parentbased_always_on.",
    )
    ratio: Ratio | None = Field(None, description="Part of the traces, for `traceidratio`: 0.01 or `1%`. Default: all.")
    service_name: Text = Field("terraster", description="`service.name` of the spans.")
    headers: dict[HeaderName, Secret] = Field(
        default_factory=dict,
        description="Fields that are sent to the receiver, such as `authorization`; `file:/path` reads a value from a file.",
    )
    resource: dict[Text, Text] = Field(
        default_factory=dict, description="Further attributes of the resource, such as `deployment.environment.name`."
    )
    timeout: SomeTime = Field(10.0, description="Time for each batch, repetitions included; then it is lost.")
    compression: Literal["none", "gzip"] = Field("none", description="How batches are compressed.")
    ca_file: FilePath | None = Field(
        None, description="PEM file with the roots that the receiver is verified against. Default: the well-known ones."
    )

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if self.enabled and self.endpoint is None:
            raise ValueError("needs `endpoint`, the URL of an OTLP receiver: http://collector:4318")
        return self


SamplingSetting = Annotated[SamplingSettings, BeforeValidator(switched), OrWord()]
TracingSetting = Annotated[TracingSettings, BeforeValidator(switched), OrWord()]
