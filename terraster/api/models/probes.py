"""Health checks on demand."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .base import Model, Query
from .changes import Url

__all__ = ["ProbeQuery", "Probed"]


class ProbeQuery(Query):
    service_name: Annotated[str, Field(max_length=500, description="Name of a service.")]
    path: Annotated[str, Field(max_length=4000, description="Path of a location. Needed where it is not clear.")] = ""
    url: Url


class EndpointProbe(Model):
    """The probe of one address."""

    endpoint: Annotated[str | None, Field(description="Which of several of the same URL.")]
    address: str | None
    ok: Annotated[bool, Field(description="True if the probe passed.")]
    reason: Annotated[str, Field(description="Why it passed or failed.")]
    seconds: Annotated[float, Field(description="The time that it took.")]
    status: Annotated[int | None, Field(description="Of the response; null: there was none, or the check does not ask for one.")]
    answer: Annotated[
        str,
        Field(description="The first 256 octets of the response's body, or of what came instead of a response, without secrets."),
    ]


class Probed(Model):
    service_name: str
    path: str
    url: str
    type: Annotated[str, Field(description="`http`, `tcp` or `grpc`.")]
    probes: Annotated[list[EndpointProbe], Field(description="One for each address.")]
