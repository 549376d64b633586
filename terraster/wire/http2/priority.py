"""Priorities of responses (RFC 9218): the Priority field, which PRIORITY_UPDATE frames carry too.

Its value is a dictionary of structured fields (RFC 8941, section 3.2). A value that is not one has no effect, and neither has a parameter
that is unknown or out of its range.
"""

from __future__ import annotations

import re

__all__ = ["DEFAULT", "parse_priority"]

DEFAULT = (3, False)
"""(urgency, incremental) without a signal: section 4."""

_KEY = rb"[a-z*][a-z0-9_\-.*]*"
_BARE = (
    rb"(?:-?[0-9]{1,15}(?:\.[0-9]{1,3})?"  # integer, decimal
    rb'|"(?:[ !#-\[\]-~]|\\["\\])*"'  # string
    rb"|[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*"  # token
    rb"|:[A-Za-z0-9+/=]*:"  # octets
    rb"|\?[01])"  # boolean
)
_PARAMETERS = rb"(?:; *" + _KEY + rb"(?:=" + _BARE + rb")?)*"
_ITEM = _BARE + _PARAMETERS
_LIST = rb"\( *(?:" + _ITEM + rb"(?: +" + _ITEM + rb")*)? *\)" + _PARAMETERS
_MEMBER = rb"(" + _KEY + rb")(?:=(?:(" + _BARE + rb")" + _PARAMETERS + rb"|" + _LIST + rb")|" + _PARAMETERS + rb")"
_NEXT = re.compile(_MEMBER + rb"(?:[ \t]*,[ \t]*(?=.)|[ \t]*\Z)", re.DOTALL)

_LONGEST = 256
"""Octets. A longer value has no effect."""


def parse_priority(value: bytes) -> tuple[int, bool]:
    """(urgency, incremental) by a value of the field."""
    urgency, incremental = DEFAULT
    value = value.strip(b" ")
    at, size = 0, len(value)
    if size > _LONGEST:
        return DEFAULT
    while at < size:
        member = _NEXT.match(value, at)
        if member is None:
            return DEFAULT
        key, item = member.groups()
        if key == b"u":
            urgency = int(item) if item is not None and len(item) == 1 and item in b"01234567" else DEFAULT[0]
        elif key == b"i":
            incremental = item == b"?1" or (item is None and value[member.end(1) : member.end(1) + 1] != b"=")
        at = member.end()
    return urgency, incremental
