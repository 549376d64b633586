"""The members of a balancer that new work may be sent to, looked up anew only when that may have changed.

A master counts in `CHANGES` how often it changed what any of its backends may get, and a process counts its own changes in
`SeatView.doubts`. While both stay the same, so does the list: a location with a thousand backends of which one is up costs a pick what a
location with one backend costs it. `SeatView.refresh` doubts once a second whether nothing was missed.

A member of the list may be down by the time that it is picked, so a balancer looks at the member's own cell as well. One that has come
back is in the list at the next pick.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..state.cells import BackendCells

if TYPE_CHECKING:
    from .contract import Member

__all__ = ["FEW", "Admitted"]

FEW = 32
"""Members that a pick may look at one after the other. Where there are more it looks at a part of them."""

_TRIAL, _RAMPING = BackendCells.TRIAL, BackendCells.RAMPING


class Admitted:
    """Some members of one process, in their order.

    members: those let in, as of the last `look`; ramping, trials: those of them that start slowly, and whose circuits are half-open
    seen: a number that differs after each renewal
    """

    __slots__ = ("members", "ramping", "trials", "seen", "_all", "_view")

    def __init__(self, members: Sequence[Member]) -> None:
        """``members``: at least one."""
        self._all = members
        self._view = members[0].view
        self.members: list[Member] = []
        self.ramping: list[Member] = []
        self.trials: list[Member] = []
        self.seen = -1

    def look(self) -> list[Member]:
        """Those that new work may be sent to, as far as their health is concerned."""
        view = self._view
        q = view.cells
        seen = q[view.changes] + view.doubts
        if seen != self.seen:
            self.seen = seen
            found = self.members = [member for member in self._all if q[member.admit_at]]
            self.ramping = [member for member in found if q[member.admit_at] == _RAMPING]
            self.trials = [member for member in found if q[member.admit_at] == _TRIAL]
        return self.members
