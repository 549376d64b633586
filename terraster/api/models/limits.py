"""The clients of limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .base import Digits, Model, Query
from .changes import DryRunQuery, Name, Path, Reason

__all__ = ["LimitClients", "LimitQuery", "Reset", "ResetBody", "ResetQuery"]

Limit = Annotated[str, Field(max_length=64, description="Name of the limit; `default`: that without a name.")]


class LimitQuery(Query):
    service_name: Name
    path: Path = ""
    name: Annotated[str, Field(max_length=64, description="Name of a limit; empty: all of the service.")] = ""
    limit: Annotated[Digits, Field(ge=1, le=500, description="Clients of each limit.")] = 50


class LimitClient(Model):
    client: Annotated[
        str, Field(description="Its address or value; empty: the value of a header, a cookie or a query, which may be a secret.")
    ]
    id: str
    used: Annotated[float, Field(description="Requests that count against the limit.")]
    share: Annotated[float, Field(description="Their share of the limit; 1: the next request is refused.")]
    seconds: Annotated[float | None, Field(description="Until none counts any more; null: until they end.")]


class LimitState(Model):
    kind: str
    name: str
    key: Annotated[str, Field(description="How clients are told apart.")]
    most: Annotated[int, Field(description="Requests at once.")]
    clients: Annotated[list[LimitClient], Field(description="Those nearest to the limit first.")]


class LimitClients(Model):
    service_name: str
    path: str
    limits: list[LimitState]


class ResetQuery(DryRunQuery):
    service_name: Name
    path: Path = ""


class ResetBody(Model):
    name: Limit
    client: Annotated[str, Field(min_length=1, max_length=4000, description="Its address or value, or its `id`.")]
    reason: Reason = ""


class Reset(Model):
    name: str
    id: str
    before: Annotated[float, Field(description="Requests that counted against the limit.")]
    after: float
    changed: bool
    dry_run: bool
