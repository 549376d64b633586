"""The locations and backends that have most to do now."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from ..call import Answer, Call, Role
from ..deps import Deps
from ..models.base import Digits, Model, Query
from ..operation import Operation

__all__ = ["operations"]


class TopQuery(Query):
    seconds: Annotated[
        Digits, Field(ge=1, le=10, description="Seconds over which requests are counted; the answer takes as long.")
    ] = 1
    sort: Annotated[
        Literal["requests", "errors", "p50", "p95", "p99", "active", "open"],
        Field(description="The column with the most at the top."),
    ] = "requests"
    limit: Annotated[Digits, Field(ge=1, le=1000, description="How many rows at most.")] = 100


class Work(Model):
    requests_per_second: float
    errors_per_second: Annotated[float, Field(description="Answers 5xx; of a backend also attempts without a response.")]
    active: Annotated[int, Field(description="Requests under way at backends.")]
    open: Annotated[int, Field(description="Open connections to backends.")]


class TopRow(Work):
    service_name: str
    path: str
    url: Annotated[str | None, Field(description="null: the location, which its backends follow.")]
    p50: Annotated[float | None, Field(description="Seconds; null: no requests.")]
    p95: float | None
    p99: float | None


class Top(Model):
    seconds: float
    total: Work
    rows: list[TopRow]
    more: Annotated[int, Field(description="Rows that are left out.")]


def operations(deps: Deps) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/api/top",
            id="listTop",
            tag="stats",
            summary="The locations that have most to do now, each followed by its backends",
            handle=partial(_top, deps),
            role=Role.READER,
            query=TopQuery,
            answer=Top,
            refuses=(429,),
            example={"query": {"sort": "errors", "limit": "10"}},
        ),
    )


def _top(deps: Deps, call: Call) -> Answer:
    return Answer(deps.readings.top(call.query.seconds, call.query.sort, call.query.limit))
