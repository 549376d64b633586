"""The contract of a balancer: its members, and four calls.

A balancer belongs to one location in one process. `Balancer.pick` returns a member that is *taken*: its ACTIVE cell in the process's own
seat is already counted. The caller of `pick` calls `Balancer.done` exactly once, which gives the member back. Until then the member belongs
to that attempt. If `Balancer.measures` is set, `Balancer.answered` is called in between, when the response head has come.

Plans are compiled in the master and inherited by its children, so nothing here holds an index into a seat: rows are reached
through the `SeatView` of the process, which sits down after the fork.

``max_connections`` holds over all workers without a lock: a worker first counts itself in, then adds up all seats, and steps back
if the sum is over the limit. Of several that arrive at once the last one sees all others, so the limit is never exceeded. At worst
two step back from one free place, and their requests go to another backend. (This wants a worker's write to be seen before it reads:
`terraster.state.fence`.) The requests that may try a half-open circuit are counted in the same way.

A new worker is an exception for a moment. The others hear about its seat at its fork, long before it is ready to accept. A worker that is
busy with one long turn of its loop reads that late and counts without the new seat, for a second at worst. The limit may be exceeded by the
requests that the new worker takes meanwhile.

The master decides whether a member may be picked, and writes it into one cell (`BackendCells.ADMIT`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from ..config.snapshot import Backend
from ..exchange import Exchange
from ..state.cells import BackendCells, SeatBackend
from ..state.fence import fence
from ..state.view import SeatView
from ..wire.edits import Edits
from .admitted import FEW, Admitted

__all__ = ["Balancer", "Member"]

_ACTIVE = SeatBackend.ACTIVE
_TRIALS = SeatBackend.TRIALS
_ALL, _TRIAL, _RAMPING = BackendCells.ALL, BackendCells.TRIAL, BackendCells.RAMPING
_WHOLE = 1000  # of a ramp


class Member:
    """A backend as one location of one process sees it.

    backend: the configuration's value, with its id and http2. slot: its place in the table. weight: 0 takes no new work. max_connections:
    requests at once over all workers, 0 = no limit. admit_at: index of its ADMIT cell (or of one that is always 0, see `suspend`). offset:
    of its row within a seat (add `SeatView.backends`). streak: attempts that failed in a row, as seen by this process.
    """

    __slots__ = (
        "backend",
        "id",
        "http2",
        "view",
        "slot",
        "weight",
        "max_connections",
        "admit_at",
        "offset",
        "streak",
        "_cells",
        "_ramped",
    )

    def __init__(self, backend: Backend, view: SeatView) -> None:
        self.backend = backend
        self.id, self.http2 = backend.id, backend.http2
        self.view = view
        self.slot = backend.slot
        self.weight = backend.weight
        self.max_connections = backend.max_connections
        self._cells = view.table.backend(backend.slot)
        self.admit_at = self._cells + BackendCells.ADMIT
        self.offset = backend.slot * SeatBackend.CELLS
        self.streak = 0
        self._ramped = 0

    def __repr__(self) -> str:
        return f"Member({self.backend.id!r})"

    def limit(self, most: int) -> None:
        """No more than ``most`` connections may be open to it: as each carries one request at a time, no more requests either."""
        if most and (not self.max_connections or most < self.max_connections):
            self.max_connections = most

    def is_up(self) -> bool:
        """True if new work may be sent to it, as far as its health is concerned."""
        return self.view.cells[self.admit_at] != 0

    def keeps_sessions(self) -> bool:
        """True if work that belongs to it may be sent to it: also while it is draining, but not after `suspend`."""
        q, at = self.view.cells, self.admit_at
        return q[at] != 0 or (q[self._cells + BackendCells.STATE] == BackendCells.DRAINING and at != self.view.table.never)

    def active(self) -> int:
        """Requests in flight, over all seats."""
        view = self.view
        q = view.cells
        at = self.offset + _ACTIVE
        total = 0
        for row in view.all_backends:
            total += q[row + at]
        return total

    def slowness(self) -> float:
        """The divisor of its weight during slow start; 1.0 outside of slow start."""
        return 1 / self.ramp()

    def ramp(self) -> float:
        """The part of its weight that counts during slow start, above 0 and at most 1; 1.0 outside of slow start."""
        q = self.view.cells
        if q[self.admit_at] != _RAMPING:
            return 1.0
        return min(max(q[self._cells + BackendCells.RAMP], 1), _WHOLE) / _WHOLE

    def has_room(self) -> bool:
        """True if `take` would probably succeed."""
        return not self.max_connections or self.active() < self.max_connections

    def take(self, ramps: bool = True) -> bool:
        """Count one more request in flight. False, and nothing counted, if that would be more than ``max_connections``, more than a
        half-open circuit may be tried with, or more than its share while it starts slowly.

        ramps: False where the work belongs to this member and to no other, so that slow start does not apply (hashes, sessions),
        and where `slowness` has already been reckoned with.
        """
        view = self.view
        q = view.cells
        at = view.backends + self.offset + _ACTIVE
        q[at] += 1
        if q[self.admit_at] == _ALL and not self.max_connections:
            return True
        if self._may(ramps):
            return True
        q[at] -= 1
        return False

    def _may(self, ramps: bool) -> bool:
        """True if a request that has counted itself in may stay."""
        fence()
        if self.max_connections and self.active() > self.max_connections:
            return False
        view = self.view
        q = view.cells
        admit = q[self.admit_at]
        if admit == _RAMPING and ramps:
            self._ramped += q[self._cells + BackendCells.RAMP]
            if self._ramped < _WHOLE:
                return False
            self._ramped -= _WHOLE
        elif admit == _TRIAL:
            at = self.offset + _TRIALS
            q[view.backends + at] += 1
            fence()
            if sum([q[row + at] for row in view.all_backends]) > q[self._cells + BackendCells.TRIAL_LIMIT]:
                q[view.backends + at] -= 1
                return False
        return True

    def state(self) -> int:
        """Its `BackendCells.STATE`."""
        return self.view.q[self._cells + BackendCells.STATE]

    def since(self) -> int:
        """When it came to this state, its `BackendCells.SINCE`."""
        return self.view.q[self._cells + BackendCells.SINCE]

    def is_suspended(self) -> bool:
        """True between `suspend` and `resume`."""
        return self.admit_at == self.view.table.never

    def on_trial(self) -> bool:
        """True if its circuit is half-open, so that every result is reported."""
        return self.view.cells[self.admit_at] == _TRIAL

    def give_back(self) -> None:
        """Count one request in flight less. Raises ValueError if none was counted."""
        view = self.view
        at = view.backends + self.offset + _ACTIVE
        left = view.cells[at] - 1
        if left < 0:
            raise ValueError("no request in flight is counted")
        view.cells[at] = left

    def suspend(self) -> None:
        """Send it no new work from this process, until `resume`. The master has a report and decides for all workers."""
        self.admit_at = self.view.table.never
        self.view.doubts += 1

    def resume(self) -> None:
        """Follow the master's decision again."""
        self.admit_at = self._cells + BackendCells.ADMIT
        self.view.doubts += 1
        self.streak = 0


class Balancer:
    """The contract. A balancer keeps what it needs in the process; what must survive a reload goes over in `resume_from`.

    name:     what it is called in the configuration
    measures: True if `answered` is to be called
    cookie:   True if responses may have to set a cookie
    admitted: of the members with a weight, if there are more than `FEW`
    relieved: the member that was given back last, None: none was
    Times are seconds of the monotonic clock.
    """

    __slots__ = ("members", "admitted", "relieved")

    name: ClassVar[str] = ""
    measures: bool = False
    cookie: ClassVar[bool] = False

    def __init__(self, members: Sequence[Member]) -> None:
        """``members`` in the order of the configuration; those of weight 0 are never picked."""
        self.members = tuple(members)
        players = [member for member in members if member.weight] if len(members) > FEW else []
        self.admitted = Admitted(players) if len(players) > FEW else None
        self.relieved: Member | None = None

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        """A member for this exchange, taken: up, with weight and room, and none of those in ``tried``. None if there is none."""
        raise NotImplementedError

    def last_resort(self, tried: Collection[Member]) -> Member | None:
        """A member where `pick` has none, taken: one that starts slowly and whose turn it is not. Of the first tier that has any, the one
        with the fewest requests for its weight. None if there is none with room."""
        best: Member | None = None
        least = (0, 0.0)
        members: Sequence[Member] = self.members
        if self.admitted is not None:
            self.admitted.look()
            members = self.admitted.ramping
        for member in members:
            if member.weight and member.is_up() and member not in tried and member.has_room():
                load = (member.backend.priority, member.active() / member.weight)
                if best is None or load < least:
                    best, least = member, load
        return best if best is not None and best.take(False) else None

    def take_relieved(self, tried: Collection[Member]) -> Member | None:
        """The member that was given back last, taken, if that can be. For large groups in which many are full."""
        member = self.relieved
        usable = member is not None and member.weight and member.is_up() and member not in tried
        return member if usable and member is not None and member.take() else None

    def has_others(self, tried: Collection[Member]) -> bool:
        """True if there are members with a weight that are up and none of those in ``tried``, with or without room."""
        for member in self.members if self.admitted is None else self.admitted.look():
            if member.is_up() and member.weight and member not in tried:
                return True
        return False

    def on_trial(self) -> list[Member]:
        """The members whose circuit is half-open."""
        if self.admitted is None:
            return [member for member in self.members if member.on_trial()]
        self.admitted.look()
        return self.admitted.trials

    def keeps(self, exchange: Exchange) -> bool:
        """True if the client belongs to a member that takes its requests, even where the member takes no new work."""
        return False

    def answered(self, member: Member, seconds: float, now: float) -> None:
        """A response head has come, ``seconds`` after the request was sent. Called only where `measures` is set."""

    def on_response(self, exchange: Exchange, edits: Edits) -> None:
        """Put in what keeps the client at ``exchange.backend``. Called for every response head, only where `cookie` is set."""

    def done(self, member: Member, failed: bool, now: float) -> None:
        """The attempt is over; ``failed`` by the member's fault. Gives the member back. ``now``: of the end where it failed or no
        response head came (its client may have left), of the response head else."""
        self.relieved = member
        member.give_back()

    def resume_from(self, old: Balancer) -> None:
        """Go on where the balancer of the generation before stood, as far as it means something here: each of the `parts` where that
        one stood which had most of its backends."""
        for part in self.parts():
            wanted = {member.backend.id for member in part.members}
            part.continue_from(max(old.parts(), key=lambda one: sum(member.backend.id in wanted for member in one.members)))

    def continue_from(self, old: Balancer) -> None:
        """`resume_from` for one that chooses by itself; ``old`` is one, too. Members are matched by backend id."""

    def parts(self) -> tuple[Balancer, ...]:
        """The balancers that it is made of: itself, if it chooses by itself."""
        return (self,)

    def prepare(self) -> None:
        """Build what picks need, if that is much, now that `resume_from` has had its chance: once, when the plan is compiled. In the
        master, so that its children inherit it."""
