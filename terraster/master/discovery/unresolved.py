"""Backends whose names do not resolve: reported to the states, after these know the backends of a new configuration."""

from __future__ import annotations

from collections.abc import Callable

from terraster.master.participant import Participant, Proposal

from .names import Names

__all__ = ["UnresolvedBackends"]


class UnresolvedBackends(Participant):
    """Comes after the states and the prober in the tuple. resolved: ``resolved(id, ok, reason)``"""

    name = "unresolved"

    def __init__(self, names: Names, resolved: Callable[[str, bool, str], None]) -> None:
        self._names = names
        self._resolved = resolved

    def commit(self, new: Proposal) -> None:
        self._names.report(self._resolved)
