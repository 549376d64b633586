"""Documents as they may be shown: without the values of members whose names tell that they are secret, and without credentials that show
themselves by their form."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["HIDDEN", "masked"]

HIDDEN = "(hidden)"

_TELLING = re.compile(r"auth|cookie|key|pass|secret|token|credential", re.IGNORECASE)
_CREDENTIALS = re.compile(r"\s*(?:Basic|Bearer)\s+[^\s$]\S*\s*", re.IGNORECASE)  # of a field with any name; ${…} is a variable
_USERINFO = re.compile(r"(?<=://)[^/?#\s@:]*:[^/?#\s@]*@")

_CLOSED = {"healthcheck": ("headers", "requestbody"), "match": ("headers", "query", "cookies")}  # members of members


def masked(value: Any) -> Any:
    """A JSON value in which the values of members with telling names are hidden: the field Authorization, the key of a plugin …"""
    if isinstance(value, dict):
        return {name: HIDDEN if _TELLING.search(str(name)) else masked(_closed(str(name), one)) for name, one in value.items()}
    if isinstance(value, list):
        return [masked(one) for one in value]
    return _shown(value) if isinstance(value, str) else value


def _closed(name: str, value: Any) -> Any:
    """The value of a member, without the values within it that may be passwords whatever their names are."""
    inner = _CLOSED.get(_spelt(name))
    if inner is None or not isinstance(value, dict):
        return value
    return {key: _without_values(one) if _spelt(str(key)) in inner else one for key, one in value.items()}


def _without_values(value: Any) -> Any:
    return dict.fromkeys(value, HIDDEN) if isinstance(value, dict) else HIDDEN


def _spelt(name: str) -> str:
    return name.replace("_", "").lower()


def _shown(text: str) -> str:
    return HIDDEN if _CREDENTIALS.fullmatch(text) else _USERINFO.sub(f"{HIDDEN}@", text)
