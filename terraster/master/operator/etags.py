"""The strong ETag (RFC 9110, section 8.8.3) of a location: a hash of all that is in effect there and of the orders for its backends.

Programs that change a location send it back as If-Match, so that none overwrites a change that it has not seen. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from terraster.config.snapshot import Location

from .action import Entry

__all__ = ["etag", "matches"]


def etag(location: Location, entries: Mapping[str, Entry]) -> str:
    """The ETag, with its quotes. location: as the configuration and the edits have it; entries: the overrides, by id"""
    whole = hashlib.sha256(repr(location).encode())
    for backend in location.backends:
        entry = entries.get(backend.id)
        if entry is not None:
            forced = () if entry.forced is None else (entry.forced,)
            whole.update(repr((backend.id, entry.order, entry.weight, *forced)).encode())
    return f'"{whole.hexdigest()[:32]}"'


def matches(wanted: str, current: str) -> bool:
    """True if an If-Match field is fulfilled (RFC 9110, section 13.1.1): "*", or a list that has the ETag."""
    return wanted.strip() == "*" or current in [one.strip() for one in wanted.split(",")]
