"""The part of docs/api.md that is written from the table of operations: each with its parameters, its refusals and an example."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any
from unittest.mock import MagicMock
from urllib.parse import quote, urlencode

from terraster.api.deps import Deps
from terraster.api.openapi import document, refusals
from terraster.api.operation import Operation
from terraster.api.operations import table

__all__ = ["OPERATIONS", "example", "operations"]

OPERATIONS: tuple[Operation, ...] = table(Deps(**{one.name: MagicMock() for one in fields(Deps)}))
"""The table. Its handlers must not be called."""

_SOCKET = "/run/terraster/control.sock"


def operations() -> str:
    """The part of the page."""
    made = document(OPERATIONS, "0")
    return "\n".join(line for tag in dict.fromkeys(one.tag for one in OPERATIONS) for line in _family(tag, made)) + "\n"


def example(one: Operation, values: Mapping[str, str] | None = None) -> tuple[str, Any, dict[str, str]]:
    """The target, the body and the fields of the example. values: of the words that stand for something"""
    known = values or {}
    target = one.path
    for name, value in one.example.get("parts", {}).items():
        target = target.replace(f"{{{name}}}", quote(known.get(value, value), safe=""))
    query = one.example.get("query")
    head = {"If-Match": one.example.get("if_match", "*")} if one.if_match == "required" else {}
    body = one.example.get("body")
    if isinstance(body, dict):
        body = {name: known.get(value, value) if isinstance(value, str) else value for name, value in body.items()}
    return f"{target}?{urlencode(query)}" if query else target, body, head


def _family(tag: str, made: dict[str, Any]) -> Iterator[str]:
    yield f"### {tag.capitalize()}"
    yield ""
    for one in OPERATIONS:
        if one.tag == tag:
            yield from _operation(one, made)


def _operation(one: Operation, made: dict[str, Any]) -> Iterator[str]:
    told = made["paths"][one.path][one.method.lower()]
    role = "Open to all." if one.role is None else f"Role: {one.role.word}."
    yield f"#### {one.method} {one.path}"
    yield ""
    yield f"{one.summary}. {one.detail} {role}".replace("  ", " ")
    yield ""
    yield from _table("Parameter", [_parameter(own) for own in told.get("parameters", ())])
    yield from _table("Member of the body", _members(one, made))
    yield f"Answers {one.status}, or a problem with {', '.join(map(str, refusals(one)))}."
    yield ""
    target, body, head = example(one)
    yield from _before(one)
    words = ["curl", "-H", '"Authorization: Bearer $TOKEN"'] if one.example.get("own") else ["curl", "--unix-socket", _SOCKET]
    words += [] if one.method == "GET" else ["-X", one.method]
    words += [word for name, value in head.items() for word in ("-H", f"'{name}: {value}'")]
    words += [] if body is None else ["-H", "'Content-Type: application/json'", "-d", f"'{json.dumps(body)}'"]
    site = "http://127.0.0.1:8081" if one.example.get("own") else "http://terraster"
    yield from ("```", " ".join([*words, f"'{site}{target}'"]), "```", "")


def _before(one: Operation) -> Iterator[str]:
    """Where the words of an example come from, if it needs another one."""
    said = ["`TOKEN` is `token` of the answer to a login."] if one.example.get("own") else []
    if after := one.example.get("after"):
        other = next(found for found in OPERATIONS if found.id == after)
        call = f"`{other.method} {other.path}`"
        takes = one.example.get("takes", {})
        said += [f"`{word}` is `{_member(path)}` of the answer to {call}." for word, path in takes.items()]
        said += [] if takes else [f"After the example of {call}."]
    if said:
        yield from (" ".join(said), "")


def _member(path: str) -> str:
    """A path such as ``items.0.id``, as people read it: ``items[0].id``."""
    return re.sub(r"\.([0-9]+)", r"[\1]", path)


def _parameter(own: dict[str, Any]) -> tuple[str, str]:
    schema = own["schema"]
    default = schema.get("default")
    words = [own.get("description", "Part of the path.")]
    words += [f"One of {', '.join(f'`{word}`' for word in schema['enum'] if word)}."] if "enum" in schema else []
    words += ["Required."] if own["required"] else [f"Default: {json.dumps(default)}."] if default not in (None, "") else []
    return own["name"], " ".join(words)


def _members(one: Operation, made: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if one.body is None:
        return
    schema = made["paths"][one.path][one.method.lower()]["requestBody"]["content"]["application/json"]["schema"]
    found = made["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    for name, own in found.get("properties", {}).items():
        yield name, (own.get("description", "") + (" Required." if name in found.get("required", ()) else "")).strip()


def _table(title: str, rows: Any) -> Iterator[str]:
    rows = list(rows)
    if rows:
        yield f"| {title} | Meaning |"
        yield "|---|---|"
        for name, words in rows:
            yield f"| `{name}` | {words.replace('|', chr(92) + '|')} |"
        yield ""
