"""The meaning of a scalar's text for a key that takes a number, or a word that switches something on or off.

The reader of YAML (`terraster.config.nodes`) hands on every scalar as text: ``0x10`` as a header's value is these four characters, as
a port it is 16. So the type of the key decides, not the scalar's looks, and a value from the environment or in quotes means what it
means without them. Values that have a type already (from a program, from JSON) pass as they are.
"""

from __future__ import annotations

import re

__all__ = ["NOTHING", "is_off", "number", "truth"]

NOTHING = frozenset(("", "~", "null", "Null", "NULL"))
"""Scalars without quotes that mean no value (YAML 1.2, core schema)."""

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,15}|0o[0-7]{1,20}")
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18}|[0-9]{1,18}(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?")
_FIRST = frozenset("0123456789+-.")
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def number(value: object) -> object:
    """An int or a float for text that is a number by YAML 1.2's core schema; anything else as it is. ``010`` and ``1:30`` are not."""
    if isinstance(value, str):
        text = value.strip()
        if text[:1] not in _FIRST:
            return value
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _HEX.fullmatch(text):
            return int(text, 0)
    return value


def truth(value: object) -> bool | None:
    """True or False for a bool and for the words true, yes, on, false, no, off; None for anything else."""
    if isinstance(value, bool):
        return value
    return _TRUTH.get(value.strip().lower()) if isinstance(value, str) else None


def is_off(value: object) -> bool:
    """True if the value says off: false, no or off, in quotes or not."""
    return truth(value) is False
