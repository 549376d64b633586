"""Words for a value that is at fault. `terraster.config.messages` adds its key; the process that checks plugins needs only these, and starts
the sooner for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic_core import ErrorDetails

__all__ = ["sentence", "suggestion"]

_WORDS = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number with fewer digits",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "must be text",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
}
_BOUNDS = {
    "greater_than": ("gt", "must be more than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must be at most"),
}


def suggestion(word: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """``"; did you mean `x`?"`` for the nearest known word that is at least so much alike (0 to 1), or nothing."""
    near = difflib.get_close_matches(word.lower(), list(known), 1, likeness)
    return f"; did you mean `{near[0]}`?" if near else ""


def sentence(details: ErrorDetails) -> str:
    """The fault of a value, in words that follow its key."""
    kind = details["type"]
    context: dict[str, Any] = details.get("ctx", {})
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", details["msg"]))
    if kind == "literal_error":
        return f"must be {context['expected']}".replace("'", "`")
    if kind in _BOUNDS:
        key, text = _BOUNDS[kind]
        bound = context[key]
        return f"{text} {bound:g}" if isinstance(bound, float) else f"{text} {bound}"
    return _WORDS.get(kind) or f"cannot be used: {details['msg']}"
