"""Changes above the configuration file, reloads of the file, and maintenance of services."""

from __future__ import annotations

from functools import partial

from ...config.edits import LOCATION_KINDS
from ..call import Answer, Call, Effect, Role
from ..deps import Deps
from ..models.base import Paged
from ..models.changes import Changed, DryRunQuery, MaintenanceAnswer, MaintenanceBody, OverridePage, ReloadAnswer
from ..operation import Operation
from ..pages import sliced
from ..problem import Refused
from .changing import answered, by, checked

__all__ = ["operations"]

_RELOAD = ("ok", "generation", "changes", "problems", "notes", "replaced", "seconds", "when", "dry_run")


def operations(deps: Deps) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/api/overrides",
            id="listOverrides",
            tag="overrides",
            summary="All changes above the configuration file",
            detail="A page has edits by their numbers, and behind the last one the orders of backends, those of services, and those that are "
            "kept for backends that are gone: at most `limit` together.",
            handle=partial(_list, deps),
            role=Role.READER,
            query=Paged,
            answer=OverridePage,
            refuses=(404,),
            example={},
        ),
        Operation(
            method="DELETE",
            path="/api/overrides/{number}",
            id="dropOverride",
            tag="overrides",
            summary="Take an edit back: the file holds again",
            detail="An edit never changes, so `If-Match` is not needed. That of a location, added, replaced or removed, needs the role admin.",
            handle=partial(_drop, deps),
            role=Role.OPERATOR,
            query=DryRunQuery,
            answer=Changed,
            refuses=(404, 503),
            example={
                "after": "listOverrides",
                "takes": {"NUMBER": "edits.0.number"},
                "parts": {"number": "NUMBER"},
                "query": {"dry_run": "true"},
            },
        ),
        Operation(
            method="POST",
            path="/api/reload",
            id="reload",
            tag="config",
            summary="Read the configuration files again",
            detail="A refusal has the status 422 and all problems of the files; nothing has changed then.",
            handle=partial(_reload, deps),
            role=Role.OPERATOR,
            query=DryRunQuery,
            answer=ReloadAnswer,
            example={"query": {"dry_run": "true"}},
        ),
        Operation(
            method="POST",
            path="/api/services/{name}/maintenance",
            id="setMaintenance",
            tag="services",
            summary="Have a service answer all requests with 503, or serve again",
            handle=partial(_maintenance, deps),
            role=Role.OPERATOR,
            body=MaintenanceBody,
            query=DryRunQuery,
            answer=MaintenanceAnswer,
            refuses=(404, 503),
            example={"parts": {"name": "shop"}, "body": {"on": False}},
        ),
    )


def _list(deps: Deps, call: Call) -> Answer:
    answer = deps.ask("edits")
    orders = answer["orders"]
    edits = {f"{edit['number']:016d}": edit for edit in answer["edits"]}
    orphans = {one["id"]: one for one in orders["orphans"]}
    groups = (edits, orders["backends"], orders["services"], orphans)
    keys = [(str(at), name) for at, group in enumerate(groups) for name in sorted(group)]
    found, following = sliced(keys, call.query)
    shown, backends, services, gone = ({name: group[name] for at, name in found if at == str(n)} for n, group in enumerate(groups))
    orders = {"backends": backends, "orphans": [*gone.values()], "services": services}
    return Answer({"edits": [*shown.values()], "orders": orders, "next": following})


def _drop(deps: Deps, call: Call) -> Answer:
    number = call.parts["number"]
    if not (number.isascii() and number.isdecimal()) or len(number) > 9:
        raise Refused(404, f"there is no edit {number}")
    _may_drop(deps, call, int(number))
    answer = checked(deps.ask("drop_edits", numbers=[int(number)], by=by(call), dry_run=call.query.dry_run))
    return answered(answer, "")


def _may_drop(deps: Deps, call: Call, number: int) -> None:
    """Who may not edit locations may not take such an edit back. A number is never used twice. Raises `Refused`."""
    if call.caller is not None and call.caller.role >= Role.ADMIN:
        return
    for edit in deps.ask("edits")["edits"]:
        if edit["number"] == number and edit["kind"] in LOCATION_KINDS:
            raise Refused(403, f"edit {number} is of a location, which needs the role {Role.ADMIN.word} to be dropped")


def _reload(deps: Deps, call: Call) -> Answer:
    answer = deps.ask("reload", why=f"{by(call)}, by the API", dry_run=call.query.dry_run)
    checked({**answer, "code": "invalid"})
    value = {name: answer[name] for name in _RELOAD} | {"touches": answer.get("touches")}
    generation = 0 if call.query.dry_run else answer["generation"]
    return Answer(
        value, effect=Effect(target="the configuration", after={"changes": answer["changes"][:50]}, generation=generation)
    )


def _maintenance(deps: Deps, call: Call) -> Answer:
    body: MaintenanceBody = call.body
    name = call.parts["name"]
    action = "on" if body.on else "off"
    answer = deps.ask(
        "maintenance",
        action=action,
        service=name,
        seconds=body.seconds if body.on else 0.0,
        reason=body.reason,
        by=by(call),
        dry_run=call.query.dry_run,
    )
    if not answer["ok"]:
        checked({**answer, "code": "unknown" if answer["candidates"] else "failed"})
    value = {"service_name": answer["service"], **{key: answer[key] for key in ("changed", "maintenance", "notes")}}
    value |= {"touches": answer.get("touches"), "dry_run": call.query.dry_run}
    effect = Effect(
        target=f"service {name}",
        before=answer.get("before"),
        after=None if call.query.dry_run else {"maintenance": answer["maintenance"]},
        reason=body.reason,
        generation=0 if call.query.dry_run else deps.snapshot().generation,
        action=f"maintenance.{action}",
    )
    return Answer(value, effect=effect)
