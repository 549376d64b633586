"""Single requests: those that are open, those that came to a bad end, and, live, those that are over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ...logs.tail import Wanted
from ..call import Answer, Call, Role
from ..deps import Deps
from ..models.requests import FailureList, FailureQuery, OpenList, OpenQuery, TailQuery
from ..operation import Operation
from ..places import Places
from ..problem import Refused

__all__ = ["operations"]


def operations(deps: Deps) -> tuple[Operation, ...]:
    reader = Reader(deps, Places(deps.snapshot))
    return (
        Operation(
            method="GET",
            path="/api/requests",
            id="listRequests",
            tag="requests",
            summary="The requests that are open now, those that are open for longest first",
            detail="The `phase` says where a request is: in a filter (`filters`), its body is read ahead (`receiving`), it waits for room at a "
            "backend or for its next attempt (`queued`), it is `connecting`, its body is on the way (`sending`), it is `waiting` for the "
            "answer of the backend, the answer is `streaming` to the client, or it is a `tunnel`, such as a WebSocket.",
            handle=reader.open,
            role=Role.READER,
            query=OpenQuery,
            answer=OpenList,
            refuses=(404,),
            example={"query": {"service_name": "shop", "older": "10"}},
        ),
        Operation(
            method="GET",
            path="/api/failures",
            id="listFailures",
            tag="requests",
            summary="The last requests that were refused, failed or were left by their client, with the reason of each",
            detail="Each worker keeps the last 200 of each kind in memory, until it ends.",
            handle=reader.failures,
            role=Role.READER,
            query=FailureQuery,
            answer=FailureList,
            refuses=(404,),
            example={"query": {"kind": "failed", "limit": "10"}},
        ),
        Operation(
            method="GET",
            path="/api/tail",
            id="tailRequests",
            tag="requests",
            summary="Each request when it is over, of all workers, as server-sent events",
            detail="Also where no access log is configured. Events: first `workers` with the process ids of the workers that send and of those "
            "that do not answer, and again when these are others; then `request` with the members of `/api/failures` but `kind` and "
            "`worker`; `lost` with the number of `lines` that were lost because there were too many at once for a worker or for the listener; "
            "`failure` with a reason; and `ended` when the login is over or Terraster stops. Workers send only while there is a listener.",
            handle=reader.tail,
            role=Role.READER,
            query=TailQuery,
            media="text/event-stream",
            refuses=(404, 503),
        ),
    )


class Reader:
    """The handlers."""

    def __init__(self, deps: Deps, places: Places) -> None:
        self._deps = deps
        self._places = places

    def open(self, call: Call) -> Answer:
        query = call.query
        self._known(query.service_name)
        told, silent = self._seen(
            "requests", service=query.service_name, backend=query.backend, older=query.older, limit=query.limit
        )
        rows = [{**row, "worker": pid} for pid, one in told.items() for row in one["requests"]]
        rows.sort(key=_age, reverse=True)
        return Answer({"open": sum(one["open"] for one in told.values()), "requests": rows[: query.limit], "silent": silent})

    def failures(self, call: Call) -> Answer:
        query = call.query
        self._known(query.service_name)
        least, most = _span(query.status)
        told, silent = self._seen(
            "failures", kind=query.kind, service=query.service_name, least=least, most=most, limit=query.limit
        )
        rows = [{**row, "worker": pid} for pid, one in told.items() for row in one]
        rows.sort(key=_when, reverse=True)
        return Answer({"failures": rows[: query.limit], "silent": silent})

    def tail(self, call: Call) -> Answer:
        query = call.query
        self._known(query.service_name)
        if self._deps.tail.is_full:
            raise Refused(503, "too many listen at once; try again later", headers=[("Retry-After", "10")])
        return Answer(pieces=self._frames(call), type="text/event-stream")

    def _frames(self, call: Call) -> Iterator[bytes]:
        query = call.query
        return self._deps.tail.frames(Wanted(query.service_name, *_span(query.status), query.path), call.still)

    def _known(self, service: str) -> None:
        if service:
            self._places.locations(service, "")  # refuses names that do not exist

    def _seen(self, what: str, **about: Any) -> tuple[dict[int, Any], list[int]]:
        """The answers of the workers by process id, and those that gave none."""
        told = self._deps.ask("seen", what=what, about=json.dumps(about))
        answers = {pid: one for pid, one in told["answers"].items() if one is not None}
        return answers, sorted({*told["silent"], *told["answers"]} - set(answers))


def _span(status: str) -> tuple[int, int]:
    """The least and the greatest status that these words mean: ``503``, ``5xx``, "": all."""
    if not status:
        return 0, 999
    return int(status.replace("x", "0")), int(status.replace("x", "9"))


def _age(row: dict[str, Any]) -> float:
    age: float = row["age"]
    return age


def _when(row: dict[str, Any]) -> float:
    when: float = row["when"]
    return when
