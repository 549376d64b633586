"""When a document is fetched again: at the start, then at regular intervals, and earlier if a newer one is wanted, but not at each such wish.

A client can cause a wish, with a token that names an unknown key. So all wishes together cause one fetch in `PAUSE` seconds. A fetch that
failed is tried again soon, and then less and less often.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LONGEST", "PAUSE", "Fetched", "next_fetch"]

PAUSE = 30.0
"""Least seconds between the last try and a fetch that is only wished for."""

LONGEST = 60.0
"""Most seconds between two tries that fail."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The state of a document. tried: time of the last try, None = none yet. failures: in a row, up to now. wanted: a newer one is wanted."""

    tried: float | None = None
    failures: int = 0
    wanted: bool = False


def next_fetch(known: Fetched, refresh: float) -> float:
    """The time of the next fetch, on the clock of ``known.tried``; 0.0 = now. refresh: seconds between two fetches."""
    if known.tried is None:
        return 0.0
    if known.failures:
        return known.tried + min(2.0 ** min(known.failures - 1, 10), LONGEST, refresh)
    return known.tried + (min(PAUSE, refresh) if known.wanted else refresh)
