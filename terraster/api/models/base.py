"""The base of the API's models, and the types that JSON and query parameters need.

JSON Schema's integer includes ``5.0`` and excludes ``true``; pydantic's lax int takes ``true`` and ``"5"``, its strict one refuses ``5.0``.
So `Whole` decides by itself. A query parameter is text, so `Digits` and `Flag` are those of a query. Words of a key accept its camelCase
spelling as well: `spelt`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["Digits", "Flag", "Listed", "Model", "Query", "Row", "Whole", "spelt"]

_DIGITS = re.compile(r"-?[0-9]{1,18}")


def _whole(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError("must be a whole number")
    return int(value)


def _digits(value: object) -> object:
    if isinstance(value, str) and _DIGITS.fullmatch(value) is None:
        raise ValueError("must be a whole number")
    return value


def _flag(value: object) -> object:
    if isinstance(value, str) and value not in ("true", "false"):
        raise ValueError("must be true or false")
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
"""A whole number in a body."""

Digits = Annotated[int, BeforeValidator(_digits)]
"""A whole number in a query."""

Flag = Annotated[bool, BeforeValidator(_flag)]
"""`true` or `false` in a query."""


class Model(BaseModel):
    """A JSON object: frozen, and no member but those named."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class Query(Model):
    """The parameters of a query. An operation without a model of its own has this one, and takes none."""


def _partial(schema: dict[str, Any]) -> None:
    schema.pop("required", None)


class Row(Model):
    """An item of a list. A query with `fields` leaves members out, so none is required."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, json_schema_extra=_partial)


class Listed(Query):
    """The parameters of every list."""

    limit: Annotated[Digits, Field(ge=1, le=500, description="Items in one answer.")] = 100
    cursor: Annotated[str, Field(max_length=2000, description="`next` of the answer before: the list goes on there.")] = ""
    fields: Annotated[str, Field(max_length=1000, description="Members of the items, separated by commas. Default: all.")] = ""


def spelt(name: str) -> AliasChoices:
    """The spellings of a key that a body may use: snake_case and camelCase."""
    first, *rest = name.split("_")
    return AliasChoices(name, first + "".join(word.capitalize() for word in rest))
