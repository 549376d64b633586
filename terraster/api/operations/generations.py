"""The differences between generations of the configuration, the way back to one, and edits written into the file."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field

from ..call import Answer, Call, Role
from ..deps import Deps
from ..models.base import Digits, Flag, Model, Query
from ..models.changes import Changed, DryRunQuery, RollbackBody
from ..operation import Operation
from ..problem import Mistake, Refused
from .changing import answered, by, checked
from .comparing import Difference, by_values

__all__ = ["operations"]


class DiffQuery(Query):
    old: Annotated[Digits, Field(ge=0, le=10**15, description="The earlier generation; 0: the one before the one that runs.")] = 0
    new: Annotated[Digits, Field(ge=0, le=10**15, description="The later one; 0: the one that runs.")] = 0
    values: Annotated[Flag, Field(description="`true`: by values as well, each with its place.")] = False


class Differences(Model):
    """Differences between two generations, a line each."""

    old: int
    new: int
    changes: list[str]
    values: Annotated[list[Difference] | None, Field(description="With `values=true`: by values.")] = None


def operations(deps: Deps) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/api/generations/diff",
            id="diffGenerations",
            tag="generations",
            summary="The differences between two generations",
            handle=partial(_diff, deps),
            role=Role.READER,
            query=DiffQuery,
            answer=Differences,
            refuses=(404, 503),
        ),
        Operation(
            method="POST",
            path="/api/generations/{number}/rollback",
            id="rollback",
            tag="generations",
            summary="Run the edits and the files of an earlier generation",
            detail="The files on disk stay: the next reload or start takes what they say. Drains, maintenance and weights stay, too.",
            handle=partial(_rollback, deps),
            role=Role.ADMIN,
            query=DryRunQuery,
            body=RollbackBody,
            bare=True,
            answer=Changed,
            refuses=(404, 503),
            example={
                "after": "listGenerations",
                "takes": {"NUMBER": "items.1.generation"},
                "parts": {"number": "NUMBER"},
                "query": {"dry_run": "true"},
            },
        ),
        Operation(
            method="POST",
            path="/api/overrides/{number}/adopt",
            id="adoptOverride",
            tag="overrides",
            summary="Write an edit into the configuration file, and drop it",
            detail="Comments and order stay. If the file or the place cannot be written, the refusal (409) has the YAML to paste.",
            handle=partial(_adopt, deps),
            role=Role.ADMIN,
            query=DryRunQuery,
            answer=Changed,
            refuses=(404, 409, 503),
            example={
                "after": "listOverrides",
                "takes": {"NUMBER": "edits.0.number"},
                "parts": {"number": "NUMBER"},
                "query": {"dry_run": "true"},
            },
        ),
    )


def _diff(deps: Deps, call: Call) -> Answer:
    found = checked(deps.ask("diff", old=call.query.old, new=call.query.new))
    values = by_values(deps, found["from"], found["to"]) if call.query.values else None
    return Answer({"old": found["from"], "new": found["to"], "changes": found["changes"], "values": values})


def _rollback(deps: Deps, call: Call) -> Answer:
    reason = call.body.reason if call.body is not None else ""
    number = _number(call, "generation")
    answer = deps.ask("rollback", number=number, by=by(call), reason=reason, dry_run=call.query.dry_run)
    return answered(checked(answer), reason)


def _adopt(deps: Deps, call: Call) -> Answer:
    answer = deps.ask("adopt", numbers=[_number(call, "edit")], by=by(call), dry_run=call.query.dry_run)
    if not answer["ok"] and answer.get("paste"):  # not in `detail`, which the audit log has too: it may hold secrets
        paste = Mistake(pointer="", detail=f"this is to be written: {answer['paste']}")
        raise Refused(409, "; ".join(answer["problems"]), [paste])
    return answered(checked(answer), "")


def _number(call: Call, what: str) -> int:
    number = call.parts["number"]
    if not (number.isascii() and number.isdecimal()) or len(number) > 15:
        raise Refused(404, f"there is no {what} {number}")
    return int(number)
