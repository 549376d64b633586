"""The base of the API's models, and the types that JSON and query parameters need.

JSON Schema's integer includes ``5.0`` and excludes ``true``; pydantic's lax int takes ``true`` and ``"5"``, its strict one refuses ``5.0``.
So `Model` looks at numbers and truths first. A validator of its own around each type would hide the bounds from the schema. A query parameter
is text, so `Query` looks at it differently. A key accepts its camelCase spelling as well: `spelt`.
"""

from __future__ import annotations

import re
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

__all__ = ["Digits", "Flag", "Listed", "Model", "Paged", "Query", "Row", "Whole", "spelt"]

_DIGITS = re.compile(r"-?[0-9]{1,18}")


Whole = int
"""A whole number in a body."""

Digits = int
"""A whole number in a query."""

Flag = bool
"""`true` or `false`."""


def _kinds(model: type[BaseModel], info: ValidationInfo) -> set[object]:
    """The plain types that a field may have."""
    annotation = model.model_fields[info.field_name or ""].annotation
    return {*get_args(annotation)} if get_origin(annotation) in (Union, UnionType) else {annotation}


class Model(BaseModel):
    """A JSON object: frozen, and no member but those named."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _of_json(cls, value: object, info: ValidationInfo) -> object:
        kinds = _kinds(cls, info)
        if bool in kinds and int not in kinds and not isinstance(value, bool) and not (value is None and NoneType in kinds):
            raise ValueError("must be true or false")
        if isinstance(value, bool) and bool not in kinds and kinds & {int, float}:
            raise ValueError("must be a number")
        if isinstance(value, str) and int in kinds and not kinds & {float, str}:
            raise ValueError("must be a whole number")
        return value


class Query(Model):
    """The parameters of a query. An operation without a model of its own has this one, and takes none."""

    @field_validator("*", mode="before")
    @classmethod
    def _of_json(cls, value: object, info: ValidationInfo) -> object:
        kinds = _kinds(cls, info)
        if isinstance(value, str):
            if int in kinds and str not in kinds and _DIGITS.fullmatch(value) is None:
                raise ValueError("must be a whole number")
            if bool in kinds and value not in ("true", "false"):
                raise ValueError("must be true or false")
        return value


def _partial(schema: dict[str, Any]) -> None:
    schema.pop("required", None)


class Row(Model):
    """An item of a list. A query with `fields` leaves members out, so none is required."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, json_schema_extra=_partial)


class Paged(Query):
    """The parameters of every list."""

    limit: Annotated[Digits, Field(ge=1, le=500, description="Items in one answer.")] = 100
    cursor: Annotated[
        str, Field(max_length=2000, pattern="^[A-Za-z0-9_-]*$", description="`next` of the answer before: the list goes on there.")
    ] = ""


class Listed(Paged):
    """The same for lists of rows."""

    fields: Annotated[str, Field(max_length=1000, description="Members of the items, separated by commas. Default: all.")] = ""


def spelt(name: str) -> AliasChoices:
    """The spellings of a key that a body may use: snake_case and camelCase."""
    first, *rest = name.split("_")
    return AliasChoices(name, first + "".join(word.capitalize() for word in rest))
