"""Documents as they may be shown: without the values of members whose names tell that they are secret."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["HIDDEN", "masked"]

HIDDEN = "(hidden)"

_TELLING = re.compile(r"auth|cookie|key|pass|secret|token|credential", re.IGNORECASE)


def masked(value: Any) -> Any:
    """A JSON value in which the values of members with telling names are hidden: the field Authorization, the key of a plugin …"""
    if isinstance(value, dict):
        return {name: HIDDEN if _TELLING.search(str(name)) else masked(one) for name, one in value.items()}
    return [masked(one) for one in value] if isinstance(value, list) else value
