"""What every balancer has in common: its members, and three calls.

A balancer belongs to one location, in one process. `Balancer.pick` returns a member that is *taken*: its ACTIVE cell in the own
seat is already counted. Whoever picked calls `Balancer.done` exactly once, which gives it back. In between the member is that
exchange's.

Plans are compiled in the master and inherited by its children, so nothing here holds an index into a seat: rows are reached
through the `SeatView` of the process, which sits down after the fork.

``max_connections`` holds over all workers without a lock: a worker first counts itself in, then adds up all seats, and steps back
if the sum is over the limit. Of several that arrive at once the last one sees all others, so the limit is never exceeded; at worst
two step back from one free place, and their requests go elsewhere. (This wants a worker's write to be seen before it reads. x86
may hold a write back for some tens of nanoseconds, the interpreter needs hundreds to get to the first read; a compiled
`Member.take` needs a fence there.)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from ..config.snapshot import Backend
from ..exchange import Exchange
from ..state.table import Backend as BackendCells
from ..state.table import SeatBackend
from ..state.view import SeatView

__all__ = ["Balancer", "Member"]

_ACTIVE = SeatBackend.ACTIVE


class Member:
    """A backend as one location of one process sees it.

    backend: the configuration's value. slot: its place in the table. weight: 0 takes no new work. max_connections: requests at
    once over all workers, 0 = no limit. up_at: index of its UP cell. offset: of its row within a seat (add `SeatView.backends`).
    """

    __slots__ = ("backend", "view", "slot", "weight", "max_connections", "up_at", "offset")

    def __init__(self, backend: Backend, view: SeatView) -> None:
        self.backend = backend
        self.view = view
        self.slot = backend.slot
        self.weight = backend.weight
        self.max_connections = backend.max_connections
        self.up_at = view.table.backend(backend.slot) + BackendCells.UP
        self.offset = backend.slot * SeatBackend.CELLS

    def __repr__(self) -> str:
        return f"Member({self.backend.id!r})"

    def is_up(self) -> bool:
        """Whether new work may be sent to it, as far as its health goes."""
        return self.view.q[self.up_at] == 1

    def active(self) -> int:
        """Requests in flight, over all seats."""
        view = self.view
        q = view.q
        at = self.offset + _ACTIVE
        total = 0
        for row in view.all_backends:
            total += q[row + at]
        return total

    def has_room(self) -> bool:
        """Whether `take` would probably succeed."""
        return not self.max_connections or self.active() < self.max_connections

    def take(self) -> bool:
        """Count one more request in flight. False, and nothing counted, if that would be more than ``max_connections``."""
        view = self.view
        q = view.q
        at = view.backends + self.offset + _ACTIVE
        q[at] += 1
        if self.max_connections and self.active() > self.max_connections:
            q[at] -= 1
            return False
        return True

    def give_back(self) -> None:
        """Count one request in flight less."""
        view = self.view
        view.q[view.backends + self.offset + _ACTIVE] -= 1


class Balancer:
    """The contract. A balancer keeps what it needs in the process; what must survive a reload goes over in `adopt`."""

    __slots__ = ("members",)

    name: ClassVar[str]

    def __init__(self, members: Sequence[Member]) -> None:
        """``members`` in the order of the configuration; those of weight 0 are never picked."""
        self.members = tuple(members)

    def pick(self, exchange: Exchange | None, tried: Collection[Member]) -> Member | None:
        """A member for this exchange, taken: up, with weight and room, and none of those in ``tried``. None if there is none."""
        raise NotImplementedError

    def done(self, member: Member, failed: bool, seconds: float) -> None:
        """The exchange is over with this member; ``failed`` by its fault, ``seconds`` from the request sent to the response head,
        -1 if none came. Gives the member back."""
        member.give_back()

    def adopt(self, old: Balancer) -> None:
        """Go on where the balancer of the generation before stood, as far as it means something here. Members are matched by
        backend id."""
