"""Events that may come by the thousand: the log has the first of a kind and reason, and a while later the number of the others."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["QUIET", "REASONS", "Quiet"]

QUIET = 60.0
"""Seconds in which events of one kind on one listener make one line of the log for each reason, and one more that counts those that
followed."""

REASONS = 8
"""Reasons that have a line of their own within `QUIET`: clients choose server names, and a scanner has many."""

Kind = tuple[str, str]
"""The address of a listener, and what happened."""


class _Said:
    """A kind of event that the log has. until: monotonic time up to which more of them are only counted, but for other reasons"""

    __slots__ = ("more", "reasons", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.more = 0
        self.reasons: set[str] = set()


class Quiet:
    """The kinds of events that the log has said lately. clock: monotonic seconds"""

    __slots__ = ("clock", "_said")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._said: dict[Kind, _Said] = {}

    def says(self, kind: Kind, reason: str = "") -> bool:
        """True if an event of this kind, for this reason, is to be logged; else it is counted. A kind whose time is over must have been taken
        by `over`."""
        now = self.clock()
        said = self._said.get(kind)
        if said is None or now >= said.until:
            said = self._said[kind] = _Said(now + QUIET)
        elif reason in said.reasons or len(said.reasons) == REASONS:
            said.more += 1
            return False
        said.reasons.add(reason)
        return True

    def over(self, now: float) -> list[tuple[Kind, int]]:
        """The kinds whose time is over, each with the number of events that followed the first, if there were any. They are forgotten."""
        found = []
        for kind, said in list(self._said.items()):
            if now >= said.until:
                del self._said[kind]
                if said.more:
                    found.append((kind, said.more))
        return found
