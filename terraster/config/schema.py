"""The JSON Schema of the configuration language, made to agree with what the loader takes.

Pydantic describes values; an operator writes scalars of YAML. A key that wants a number also takes it in quotes, one that wants text takes
`1.10` without them, `on`, `off` and their like are words, and ``${NAME}`` may stand for any of them. So each leaf of pydantic's schema is
widened to what may be written for it, and null is taken out, as a key without a value is an error. A schema cannot know the environment:
whatever holds ``${`` is accepted.
"""

from __future__ import annotations

from typing import Any

__all__ = ["as_written"]

_NESTED = ("properties", "$defs")
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_NUMERIC = ("integer", "number")
_TEXT = {"type": "string"}
_SCALAR = ["string", "number", "boolean"]
_VARIABLE = r"\$\{"
_INTEGER = rf"^\s*[-+]?([0-9]+|0x[0-9a-fA-F]+|0o[0-7]+)\s*$|{_VARIABLE}"
_NUMBER = rf"^\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$|{_VARIABLE}"


def _caseless(*words: str) -> str:
    """A pattern for words in any case. ECMA 262 has no flag for that within a pattern."""
    spelt = ("".join(f"[{letter}{letter.upper()}]" for letter in word) for word in words)
    return rf"^\s*({'|'.join(spelt)})\s*$|{_VARIABLE}"


_OFF = _caseless("off", "no", "false")
_WORDS = _caseless("off", "no", "false", "on", "yes", "true")


def as_written(model: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a configuration file. model: pydantic's schema of the top."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_part(model), "title": "Terraster configuration"}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    """A schema, and the schemas within it, widened."""
    made: dict[str, Any] = {}
    for key, value in part.items():
        if key == "default" and value is None:  # an editor would offer it first
            continue
        if key in _NESTED:
            made[key] = {name: _part(one) for name, one in value.items()}
        elif key == "anyOf":
            numeric = any(one.get("type") in _NUMERIC for one in value)
            made[key] = [one if numeric and one == _TEXT else _part(one) for one in value if one != {"type": "null"}]
        elif key == "items" or (key == "additionalProperties" and isinstance(value, dict)):
            made[key] = _part(value)
        else:
            made[_BOUNDS.get(key, key)] = value
    kinds = made.get("anyOf", ())
    if len(kinds) == 1:
        del made["anyOf"]
        return {**kinds[0], **made}
    return _leaf(made)


def _leaf(made: dict[str, Any]) -> dict[str, Any]:
    kind, words = made.get("type"), made.get("enum", ())
    if any(isinstance(word, bool) for word in words):
        return _also(made, ("enum",), _WORDS if True in words else _OFF)
    if kind == "boolean":
        return _also(made, ("type",), _WORDS)
    if kind == "integer":
        return _also(made, ("type", *_BOUNDS.values()), _INTEGER)
    if kind == "number":
        return _also(made, ("type", *_BOUNDS.values()), _NUMBER)
    if words:
        return _also(made, ("type", "enum"), rf"[A-Z]|{_VARIABLE}")  # names of algorithms may have capitals
    if kind == "string" and "pattern" in made:
        return {**made, "pattern": made["pattern"] if _VARIABLE in made["pattern"] else f"{made['pattern']}|{_VARIABLE}"}
    return {**made, "type": _SCALAR} if kind == "string" else made


def _also(made: dict[str, Any], own: tuple[str, ...], pattern: str) -> dict[str, Any]:
    """A schema that takes text of this pattern as well. own: the keys of the schema that are about the value."""
    first = {key: made[key] for key in own if key in made}
    rest = {key: value for key, value in made.items() if key not in own}
    return {"anyOf": [first, {"type": "string", "pattern": pattern}], **rest}
