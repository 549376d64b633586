"""Single requests: those that are open, those that came to a bad end, and those that are over, live."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Digits, Model, Query

__all__ = ["Failure", "FailureList", "FailureQuery", "OpenList", "OpenQuery", "OpenRequest", "TailQuery"]

_Service = Annotated[str, Field(max_length=500, description="Only of this service.")]
_Status = Annotated[
    str,
    Field(max_length=3, pattern="^([1-5]xx|[1-9][0-9][0-9])?$", description="Only with this status, such as `503` or `5xx`."),
]


class OpenQuery(Query):
    """Which open requests, those that are open for longest first."""

    service_name: _Service = ""
    backend: Annotated[str, Field(max_length=2000, description="Only those at this backend: its URL or its name.")] = ""
    older: Annotated[float, Field(ge=0, le=1e9, description="Only those that are open for at least so many seconds.")] = 0.0
    limit: Annotated[Digits, Field(ge=1, le=500, description="How many requests at most.")] = 100


class _Request(Model):
    """A request, as far as it is known. The query is in `path` only where an access line would have it; secrets are masked as there."""

    worker: Annotated[int, Field(description="Process id of its worker.")]
    client: str
    method: str
    host: str
    path: Annotated[str, Field(description="As the client sent it.")]
    service: str
    location: str
    backend: Annotated[str, Field(description="The last backend that was asked, empty: none.")]
    status: Annotated[int, Field(description="0: not answered yet. 499: the client left.")]
    tries: int
    bytes_in: int
    bytes_out: int
    request_id: str


class OpenRequest(_Request):
    """A request that is under way."""

    age: Annotated[float, Field(description="Seconds since its head was complete.")]
    phase: Literal["filters", "receiving", "queued", "connecting", "sending", "waiting", "streaming", "tunnel"]


class _Told(Model):
    silent: Annotated[
        list[int],
        Field(description="Process ids of workers that did not answer within a second: they hang, and what they have is left out."),
    ]


class OpenList(_Told):
    """The requests that are open for longest."""

    open: Annotated[int, Field(description="How many there are, also beyond `limit`.")]
    requests: list[OpenRequest]


class FailureQuery(Query):
    """Which requests, the newest first."""

    service_name: _Service = ""
    kind: Annotated[
        Literal["", "refused", "failed", "aborted"],
        Field(description="Only those that were refused (4xx of Terraster), failed (5xx, or broken off), or whose client left."),
    ] = ""
    status: _Status = ""
    limit: Annotated[Digits, Field(ge=1, le=1000, description="How many requests at most.")] = 100


class Failure(_Request):
    """A request that came to a bad end."""

    kind: Literal["refused", "failed", "aborted"]
    when: Annotated[float, Field(description="When its head was complete, in seconds since 1970.")]
    duration: Annotated[float, Field(description="Seconds until it was over.")]
    reason: Annotated[
        str,
        Field(
            description="The error type of `Proxy-Status` (RFC 9209), `backend_status` where the backend answered 5xx, or the kind of the "
            "filter that answered."
        ),
    ]
    detail: str


class FailureList(_Told):
    """The last requests that came to a bad end: each worker keeps 200 of each kind."""

    failures: list[Failure]


class TailQuery(Query):
    """Which requests."""

    service_name: _Service = ""
    status: _Status = ""
    path: Annotated[
        str, Field(max_length=300, pattern="^[^?#]*$", description="Only requests whose path begins so, as the client sent it.")
    ] = ""
