"""The running configuration against its files, by values."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from ..call import Answer, Call, Role
from ..deps import Deps
from ..models.base import Model
from ..operation import Operation
from ..problem import Mistake, Refused
from .changing import checked

__all__ = ["Difference", "by_values", "operations"]


class Told(Model):
    """A value on one side of a comparison."""

    value: Annotated[Any, Field(description="Without secrets; null: it is not there.")]
    words: Annotated[str, Field(description="The value as a file would say it.")]
    origin: Annotated[
        Literal["file", "edit", "service", "top", "default", "none"],
        Field(
            description="`file`, `edit`: this key is written there. `service`, `top`: a wider level writes it. `none`: it is not there."
        ),
    ]
    place: Annotated[str, Field(description="File, line and column; of an edit its number and author; or empty.")]


class Difference(Model):
    """A key that has two values."""

    service: Annotated[str, Field(description="Empty: a key of the top.")]
    location: Annotated[str, Field(description="Empty: a key of the service itself.")]
    key: Annotated[str, Field(description="Such as `timeouts.read`; empty: the service or the location as a whole.")]
    old: Told
    new: Told


class Comparison(Model):
    """The running configuration (`old`) and its files as they are now (`new`)."""

    generation: Annotated[int, Field(description="The one that runs.")]
    differences: Annotated[list[Difference], Field(description="At most 1000. Empty: nothing differs.")]


def operations(deps: Deps) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/api/config/diff",
            id="diffConfig",
            tag="config",
            summary="The running configuration against its files, by values",
            detail="Each side has its place. Edits above the file are in the running configuration only. Contents of files that the "
            "configuration names, such as certificates, are not compared. If the files cannot be used, the status is 422, with all problems.",
            handle=partial(_compared, deps),
            role=Role.READER,
            answer=Comparison,
            example={},
        ),
    )


def by_values(deps: Deps, old: int, new: int) -> list[dict[str, Any]]:
    """The differences between two generations. Raises `Refused`."""
    return _told(deps.readings.differences(*(checked(deps.ask("texts", number=number)) for number in (old, new))))


def _compared(deps: Deps, call: Call) -> Answer:
    running = checked(deps.ask("texts"))
    return Answer({"generation": running["generation"], "differences": _told(deps.readings.differences(running, None))})


def _told(answer: dict[str, Any]) -> list[dict[str, Any]]:
    if not answer["ok"]:
        errors = [Mistake(pointer="", detail=one) for one in answer["problems"][:100]]
        raise Refused(422, f"the files cannot be used: {answer['problems'][0]}", errors)
    found: list[dict[str, Any]] = answer["differences"]
    return found
