"""`rewrite`: the path that a backend is asked for in place of the client's."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from .. import patterns, rewriting
from .base import Model, Path, text, uri_path

__all__ = ["Rewrite", "RewriteRule"]


def _pattern(value: object) -> str:
    written = text(value)
    patterns.compile_pattern(written)
    return written


def _target(value: object) -> str:
    written = text(value)
    rewriting.pieces(written)
    return written


class RewriteRule(Model):
    """One rule: a regular expression and what takes the place of the path, or a prefix."""

    match: Annotated[str, BeforeValidator(_pattern)] | None = Field(
        None, description="Regular expression (RE2) for the whole canonical path, as in `/item/([0-9]+)`; needs `to`."
    )
    to: Annotated[str, BeforeValidator(_target)] | None = Field(
        None,
        description=r"Path in place of it, with the groups `\1` to `\9` or `\g<name>`; a query behind `?` comes before the client's.",
    )
    prefix: Path | None = Field(
        None,
        description="In place of `match` and `to`: text that replaces the matched prefix of the location, if no rule before matches.",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.prefix is not None:
            if self.match is not None or self.to is not None:
                raise ValueError("has `prefix` beside `match` or `to`: write two rules")
        elif self.match is None or self.to is None:
            raise ValueError("needs `match` and `to`")
        else:
            rewriting.check(self.match, self.to)
        return self


def _rules(value: object) -> object:
    if isinstance(value, str):
        return ({"prefix": uri_path(value)},)
    return (value,) if isinstance(value, dict | RewriteRule) else value


class _OrTextOrRule:
    """An annotation: the JSON Schema of a list of rules that may also be text or one rule."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        made = handler(core)
        return {"anyOf": [made, made["items"], {"type": "string", "pattern": "^/"}]}


Rewrite = Annotated[tuple[RewriteRule, ...], BeforeValidator(_rules), _OrTextOrRule()]
