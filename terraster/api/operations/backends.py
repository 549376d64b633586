"""Backends: added, removed, changed, drained."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..call import Answer, Call, Effect, Role
from ..deps import Deps
from ..models.changes import BackendBody, BackendPatch, BackendTarget, Changed, ChangeQuery, DeleteBody, DeleteQuery
from ..operation import Operation
from ..problem import Refused
from .changing import by, change, checked, edited

__all__ = ["operations", "ordered"]

_KEYS = (
    "name",
    "weight",
    "max_connections",
    "priority",
    "backup",
    "skip_tls_verify",
    "sni",
    "http2",
    "send_proxy",
    "health_check",
)
_HEALTH = {"up": "force-up", "down": "force-down", "paused": "pause-checks", "checks": "resume-checks"}


def operations(deps: Deps) -> tuple[Operation, ...]:
    return (
        Operation(
            method="POST",
            path="/api/backends",
            id="addBackend",
            tag="backends",
            summary="Add a backend to a location",
            detail="The change is in effect in all workers when the answer comes, above the configuration file. Keys that are left out have "
            "the defaults of the file. A URL that is there already is refused with 409.",
            handle=partial(_add, deps),
            role=Role.OPERATOR,
            body=BackendBody,
            query=ChangeQuery,
            answer=Changed,
            status=201,
            refuses=(404, 409, 503),
            if_match="honoured",
            example={"query": {"service_name": "shop", "dry_run": "true"}, "body": {"url": "http://10.0.0.3:8080", "weight": 5}},
        ),
        Operation(
            method="DELETE",
            path="/api/backends",
            id="removeBackend",
            tag="backends",
            summary="Remove a backend from a location",
            detail="Its URL is in the body or in the query. Open requests finish.",
            handle=partial(_remove, deps),
            role=Role.OPERATOR,
            body=DeleteBody,
            bare=True,
            query=DeleteQuery,
            answer=Changed,
            refuses=(404, 409, 503),
            if_match="honoured",
            example={"query": {"service_name": "shop", "url": "http://127.0.0.1:9001", "dry_run": "true"}},
        ),
        Operation(
            method="PATCH",
            path="/api/backends",
            id="changeBackend",
            tag="backends",
            summary="Change the weight or the connections of a backend, drain it, take it into maintenance, or decide in place of its checks",
            detail="`drain`, `maintenance` and `health` are orders, each sent in a call of its own.",
            handle=partial(_patch, deps),
            role=Role.OPERATOR,
            body=BackendPatch,
            query=BackendTarget,
            answer=Changed,
            refuses=(404, 409, 503),
            if_match="required",
            example={
                "query": {"service_name": "shop", "url": "http://127.0.0.1:9001", "dry_run": "true"},
                "body": {"weight": 3, "reason": "the new machine"},
            },
        ),
    )


def _add(deps: Deps, call: Call) -> Answer:
    body: BackendBody = call.body
    value = {key: getattr(body, key) for key in _KEYS if getattr(body, key) is not None}
    return edited(deps, call, [change("backend.add", call, url=body.url, value=value, seconds=body.seconds)], body.reason, 201)


def _remove(deps: Deps, call: Call) -> Answer:
    body: DeleteBody | None = call.body
    url = body.url if body is not None else call.query.url
    if not url:
        raise Refused(422, "which backend? Its `url` must be in the body or in the query")
    if body is not None and call.query.url not in ("", body.url):
        raise Refused(422, "the `url` of the body is another one than that of the query")
    seconds, reason = (body.seconds, body.reason) if body is not None else (0.0, "")
    return edited(deps, call, [change("backend.remove", call, url=url, seconds=seconds)], reason)


def _patch(deps: Deps, call: Call) -> Answer:
    body: BackendPatch = call.body
    value = {key: getattr(body, key) for key in ("weight", "max_connections") if getattr(body, key) is not None}
    action = _action(body)
    if not value and not action:
        raise Refused(422, "the change says nothing: weight, max_connections, drain, maintenance or health")
    if value and action:
        raise Refused(422, "`drain`, `maintenance` and `health` are orders: ask for them in a call of their own")
    if value:
        return edited(deps, call, [change("backend.set", call, url=call.query.url, value=value, seconds=body.seconds)], body.reason)
    return _order(deps, call, body, action)


def _action(body: BackendPatch) -> str:
    if body.drain and body.maintenance:
        raise Refused(422, "a backend cannot be drained and in maintenance at once")
    if body.health is not None:
        if body.drain is not None or body.maintenance is not None:
            raise Refused(422, "`health` is an order of its own: ask for it in a call of its own")
        return _HEALTH[body.health]
    if body.maintenance:
        return "maintain"
    if body.drain:
        return "drain"
    return "enable" if body.drain is False or body.maintenance is False else ""


def ordered(backend: dict[str, Any], action: str, dry_run: bool) -> str:
    """The effect of an order in words. backend: the answer to "backend"; action: one that it takes"""
    where = f"backend {backend['url']} of {backend['service']}{backend['location']}"
    if dry_run:
        return f"{where}: {action}"
    held = action == "drain" and backend["state"] in ("down", "ejected")
    return f"{where} is {backend['state']}{', and its drain holds also when it is up again' if held else ''}"


def _order(deps: Deps, call: Call, body: BackendPatch, action: str) -> Answer:
    answer = deps.ask(
        "backend",
        action=action,
        service=call.query.service_name,
        path=call.query.path,
        url=call.query.url,
        seconds=body.seconds,
        reason=body.reason,
        by=by(call),
        if_match=", ".join(call.if_match),
        sole=True,
        dry_run=call.query.dry_run,
    )
    if not answer["ok"] and "code" not in answer:
        answer = {**answer, "code": "unknown" if answer["candidates"] else "invalid"}
    checked(answer)
    backend = answer["backend"]
    dry_run = call.query.dry_run
    generation = deps.snapshot().generation
    tag = answer.get("etag", "")
    value: dict[str, Any] = {
        "generation": generation,
        "changed": [ordered(backend, action, dry_run)] if answer["changed"] else [],
        "changes": [],
        "notes": answer["notes"],
        "edits": [],
        "locations": [{"service": backend["service"], "location": backend["location"], "etag": tag}],
        "touches": answer.get("touches"),
        "seconds": 0.0,
        "dry_run": dry_run,
    }
    keys = ("state", "weight", "order", "weight_override", "forced")
    before = answer.get("before")
    effect = Effect(
        target=backend["id"],
        before={key: before[key] for key in keys if key in before} if before else None,
        after=None if dry_run else {key: backend[key] for key in keys},
        reason=body.reason,
        generation=0 if dry_run else generation,
        action=f"backend.{action}",
    )
    return Answer(value, etag="" if dry_run else tag, effect=effect)
