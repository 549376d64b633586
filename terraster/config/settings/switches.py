"""Single words in place of a mapping or a number: `off`, and for some features `on`.

One rule for all of them: off, no and false mean the same, with a capital or without, in quotes or not; so do on, yes and true.
"""

from __future__ import annotations

from typing import Any

from pydantic import BeforeValidator, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from .. import scalars

__all__ = ["OFF_SCHEMA", "OrText", "OrWord", "off_is", "off_is_zero", "switched"]

OFF_SCHEMA: dict[str, Any] = {"enum": [False, "off", "no", "false"]}
"""`off` as editors see it: the word is a bool to YAML 1.1 and text to YAML 1.2."""
_WORD_SCHEMA: dict[str, Any] = {"enum": [True, "on", "yes", "true", *OFF_SCHEMA["enum"]]}


def switched(value: object) -> object:
    """A mapping with `enabled` alone for `on` and `off`; anything else as it is. ValueError for another word."""
    said = scalars.truth(value)
    if said is not None:
        return {"enabled": said}
    return _no_scalar(value, "`on`, `off` or a mapping")


class OrWord:
    """An annotation: the JSON Schema of a mapping that may also be written as one word. off_only: `on` is not one of its words."""

    def __init__(self, off_only: bool = False) -> None:
        self._word = OFF_SCHEMA if off_only else _WORD_SCHEMA

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core), self._word]}


class OrText:
    """An annotation: the JSON Schema of a mapping that may also be written as text, which is its main key, or as `off`."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core), {"type": "string"}, OFF_SCHEMA]}


def off_is(key: str, value: object) -> Any:
    """A validator that makes `off` a mapping with one key, and raises ValueError for another word."""

    def mapping(written: object) -> object:
        return {key: value} if scalars.is_off(written) else _no_scalar(written, "`off` or a mapping")

    return BeforeValidator(mapping)


def off_is_zero(value: object) -> object:
    """0 for `off`; anything else as it is."""
    return 0 if scalars.is_off(value) else value


def _no_scalar(value: object, what: str) -> object:
    if isinstance(value, str | int | float):
        raise ValueError(f"must be {what}")
    return value
