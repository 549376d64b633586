"""The clients of limits: those that are nearest to them; one that may begin anew."""

from __future__ import annotations

from functools import partial

from ..call import Answer, Call, Effect, Role
from ..deps import Deps
from ..models.limits import LimitClients, LimitQuery, Reset, ResetBody, ResetQuery
from ..operation import Operation
from .changing import by, checked

__all__ = ["operations"]


def operations(deps: Deps) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/api/limits/clients",
            id="listLimitClients",
            tag="limits",
            summary="The clients that are nearest to the limits of a service",
            detail="Workers name the clients that they remember, some thousands each. A value of a header, a cookie or a query is not shown.",
            handle=partial(_clients, deps),
            role=Role.OPERATOR,
            query=LimitQuery,
            answer=LimitClients,
            refuses=(404,),
            example={"query": {"service_name": "shop"}},
        ),
        Operation(
            method="POST",
            path="/api/limits/reset",
            id="resetLimit",
            tag="limits",
            summary="Let a client of a rate limit begin anew",
            handle=partial(_reset, deps),
            role=Role.OPERATOR,
            body=ResetBody,
            query=ResetQuery,
            answer=Reset,
            refuses=(404,),
            example={"query": {"service_name": "shop", "dry_run": "true"}, "body": {"name": "default", "client": "192.0.2.1"}},
        ),
    )


def _clients(deps: Deps, call: Call) -> Answer:
    query: LimitQuery = call.query
    answer = deps.ask("limits", service=query.service_name, path=query.path, name=query.name, most=query.limit)
    checked(answer if answer["ok"] else {**answer, "code": "unknown"})
    return Answer({"service_name": answer["service"], "path": answer["path"], "limits": answer["limits"]})


def _reset(deps: Deps, call: Call) -> Answer:
    body: ResetBody = call.body
    answer = deps.ask(
        "reset_limit",
        service=call.query.service_name,
        path=call.query.path,
        name=body.name,
        client=body.client,
        reason=body.reason,
        by=by(call),
        dry_run=call.query.dry_run,
    )
    checked(answer if answer["ok"] else {**answer, "code": "unknown"})
    effect = Effect(
        target=f"limit {body.name} of {call.query.service_name}, client {answer['id'] or 'unknown'}",
        before={"used": answer["before"]},
        after={"used": answer["after"]},
        reason=body.reason,
    )
    return Answer({name: answer[name] for name in Reset.model_fields}, effect=effect)
