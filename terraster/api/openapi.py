"""The OpenAPI 3.1 document of a table of operations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .models.base import Listed
from .operation import Operation
from .problem import Problem, phrase
from .router import PROBLEM

__all__ = ["document", "refusals"]

_ALL = (414, 422, 429, 503)
_CLOSED = (401, 403)
_BODY = (411, 413, 415)
_IF_MATCH = (400, 412)
_PART = re.compile(r"\{([a-z_]+)\}")
_MODES = {"body": "validation", "answer": "serialization"}
_TAGS = r'^(\*|(W/)?"[!#-~]*"([ \t]*,[ \t]*(W/)?"[!#-~]*")*)$'


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The document. version: of the program"""
    wanted: list[tuple[type[BaseModel], Any]] = [(Problem, "serialization")]
    for one in operations:
        wanted += [(model, _MODES[use]) for use in _MODES if (model := getattr(one, use)) is not None]
    refs, schema = models_json_schema(list(dict.fromkeys(wanted)), ref_template="#/components/schemas/{model}")
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Terraster management API",
            "version": version,
            "description": "Every change is checked and compiled, and all workers have it before the answer.",
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in operations)],
        "paths": paths,
        "components": {
            "schemas": schema.get("$defs", {}),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The token of a login, or a token for programs."}
            },
        },
    }


def refusals(one: Operation) -> list[int]:
    """The statuses with which an operation may refuse a request."""
    found = {*_ALL, *one.refuses}
    if issubclass(one.query, Listed):
        found.add(404)  # a cursor of another list
    if one.role is not None:
        found.update(_CLOSED)
    if one.body is not None:
        found.update(_BODY)
    if one.if_match is not None:
        found.update(_IF_MATCH)
    if one.if_match == "required":
        found.add(428)
    return sorted(found)


def _operation(one: Operation, refs: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": one.id, "tags": [one.tag], "summary": one.summary}
    if one.detail:
        made["description"] = one.detail
    if one.role is not None:
        made["security"] = [{"bearer": []}]
        made["x-role"] = one.role.word
    parameters = [*_parts(one.path), *_query(one), *_if_match(one)]
    if parameters:
        made["parameters"] = parameters
    if one.body is not None:
        content = {"application/json": {"schema": refs[one.body, "validation"]}}
        made["requestBody"] = {"required": not one.bare, "content": content}
    success: dict[str, Any] = {"description": phrase(one.status)}
    if one.answer is not None:
        success["content"] = {"application/json": {"schema": refs[one.answer, "serialization"]}}
    elif one.media:
        success["content"] = {one.media: {}}
    problem = {PROBLEM: {"schema": refs[Problem, "serialization"]}}
    made["responses"] = {str(one.status): success} | {
        str(status): {"description": phrase(status), "content": problem} for status in refusals(one)
    }
    return made


def _parts(path: str) -> Iterable[dict[str, Any]]:
    for name in _PART.findall(path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _query(one: Operation) -> Iterable[dict[str, Any]]:
    schema = one.query.model_json_schema()
    if issubclass(one.query, Listed) and one.answer is not None:
        (row,) = get_args(one.answer.model_fields["items"].annotation)
        names = "|".join(row.model_fields)
        schema["properties"]["fields"]["pattern"] = f"^(({names})(,({names}))*)?$"
    for name, own in schema.get("properties", {}).items():
        kept = {key: value for key, value in own.items() if key not in ("title", "description")}
        made = {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": kept}
        yield made | ({"description": own["description"]} if "description" in own else {})


def _if_match(one: Operation) -> Iterable[dict[str, Any]]:
    if one.if_match is not None:
        words = "The ETag of what you read."
        yield {
            "name": "If-Match",
            "in": "header",
            "required": one.if_match == "required",
            "description": words,
            "schema": {"type": "string", "pattern": _TAGS},
        }
