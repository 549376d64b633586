"""The level of the program's log, for a time."""

from __future__ import annotations

from functools import partial

from ..call import Answer, Call, Effect, Role
from ..deps import Deps
from ..models.levels import Level, LevelBody
from ..operation import Operation
from .changing import by, checked

__all__ = ["operations"]


def operations(deps: Deps) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/api/log-level",
            id="getLogLevel",
            tag="log",
            summary="The level of the program's log",
            handle=partial(_get, deps),
            role=Role.READER,
            answer=Level,
        ),
        Operation(
            method="POST",
            path="/api/log-level",
            id="setLogLevel",
            tag="log",
            summary="Give the program's log another level, in all processes",
            detail="It survives reloads and restarts. With `for` it ends by itself.",
            handle=partial(_set, deps),
            role=Role.OPERATOR,
            body=LevelBody,
            answer=Level,
            refuses=(503,),
            example={"body": {"level": "file"}},
        ),
    )


def _get(deps: Deps, call: Call) -> Answer:
    order = deps.ask("status").get("orders", {}).get("log_level")
    return Answer({"level": deps.snapshot().log_level, "order": order, "changed": False})


def _set(deps: Deps, call: Call) -> Answer:
    body: LevelBody = call.body
    answer = deps.ask("log_level", level=body.level, seconds=body.seconds, reason=body.reason, by=by(call))
    checked(answer if answer["ok"] else {**answer, "code": "failed"})
    effect = Effect(
        target="the program's log",
        before={"order": answer["before"]},
        after={"level": answer["level"], "order": answer["order"]},
        reason=body.reason,
        generation=deps.snapshot().generation,
    )
    return Answer({name: answer[name] for name in Level.model_fields}, effect=effect)
