"""Workers, backends and clients without processes, sockets or time: to see where a balancer sends a hundred thousand requests.

A `World` is one shared table with some seats, each with members of its own, as W workers would have them. `World.run` lets a number
of clients send one request after the other, each through a worker drawn at random, against backends whose answers are a function of
the simulated clock, and writes the cells that the proxy writes.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from terraster.balance.contract import Balancer, Member
from terraster.balance.random_two import RandomTwo
from terraster.balance.registry import make
from terraster.config.snapshot import Backend, Location
from terraster.state.cells import BackendCells, SeatBackend
from terraster.state.table import Table

from .seats import seated

Service = Callable[[int, float, Random], tuple[float, bool]]
"""(backend, time, chance) → (seconds to the answer or the failure, whether it is an answer)."""


@dataclass(frozen=True, slots=True)
class Done:
    """One attempt that is over."""

    ended: float
    backend: int
    seconds: float
    good: bool


class World:
    """Backends 0, 1, 2 … of these weights in one location, seen by workers in seats 1, 2, …; all up."""

    def __init__(self, weights: Sequence[int], location: Location | str, workers: int = 2, table: Table | None = None) -> None:
        if isinstance(location, str):
            location = Location("s/", "/", location)
        if not location.backends:
            location = replace(location, backends=tuple(backend(place, weight) for place, weight in enumerate(weights)))
        self.location = location
        self.table = Table(max(len(weights), 1), 1, workers + 1) if table is None else table
        self.q = self.table.q
        self.views = seated(self.table, workers)
        self.members = [[Member(one, view) for one in location.backends] for view in self.views]
        for place in range(len(location.backends)):
            self.admit(place, BackendCells.ALL)
        self.balancers: list[Balancer] = [make(location, members) for members in self.members]
        for seat, balancer in enumerate(self.balancers):
            for part in balancer.parts():
                if isinstance(part, RandomTwo):
                    part.seed(seat)  # the same run every time
        self.clock = 0.0

    def admit(self, place: int, how: int, *, ramp: int = 0, trials: int = 0, state: int = BackendCells.UP) -> None:
        """What the master would write of a backend."""
        at = self.table.backend(self.location.backends[place].slot)
        self.q[at + BackendCells.ADMIT] = how
        self.q[at + BackendCells.RAMP] = ramp
        self.q[at + BackendCells.TRIAL_LIMIT] = trials
        self.q[at + BackendCells.STATE] = state

    def active(self) -> list[int]:
        """Requests in flight per backend, over all workers."""
        return [member.active() for member in self.members[0]]

    def run(self, clients: int, requests: int, service: Service, seed: int = 1, pause: float = 1e-6) -> list[Done]:
        """Let so many clients send so many requests; ends when all are answered. The clock goes on from the run before."""
        chance = Random(seed)
        heap: list[tuple[float, int, Balancer | None, Member | None, float, bool]] = []
        begin = self.clock
        for client in range(min(clients, requests)):
            heapq.heappush(heap, (begin + client * 1e-5, client, None, None, 0.0, True))
        count = sent = len(heap)
        finished: list[Done] = []
        while heap:
            now, _, balancer, member, since, good = heapq.heappop(heap)
            self.clock = now
            if balancer is not None and member is not None:
                self._end(balancer, member, now, now - since, good)
                finished.append(Done(now, member.slot, now - since, good))
                if sent == requests:
                    continue
                sent += 1
                now += pause
            count += 1
            balancer = self.balancers[chance.randrange(len(self.balancers))]
            member = balancer.pick(None, (), now)
            assert member is not None
            self.q[member.view.backends + member.offset + SeatBackend.REQUESTS] += 1
            seconds, good = service(member.slot, now, chance)
            heapq.heappush(heap, (now + seconds, count, balancer, member, now, good))
        assert self.active() == [0] * len(self.location.backends)
        return finished

    def _end(self, balancer: Balancer, member: Member, now: float, seconds: float, good: bool) -> None:
        row = member.view.backends + member.offset
        if good:
            self.q[row + SeatBackend.LATENCY] += int(seconds * 1e9)
            self.q[row + SeatBackend.BUCKET] += 1
            if balancer.measures:
                balancer.answered(member, seconds, now)
        else:
            self.q[row + SeatBackend.FAILURES] += 1
        balancer.done(member, not good, now)


def backend(place: int, weight: int = 1, **more: object) -> Backend:
    """A backend named b0, b1, …, in the slot of that number."""
    return replace(Backend(f"b{place}", f"http://b{place}", "http", f"b{place}", 80, weight=weight, slot=place), **more)


def shares(finished: Sequence[Done]) -> dict[int, float]:
    """The part of the requests that each backend had."""
    counts = Counter(done.backend for done in finished)
    return {place: count / len(finished) for place, count in counts.items()}


def off(finished: Sequence[Done], weights: Sequence[int]) -> float:
    """By how much the share of the backend that is furthest off differs from its weight, as a part of that."""
    had = shares(finished)
    return max(abs(had.get(place, 0.0) * sum(weights) / weight - 1) for place, weight in enumerate(weights) if weight)


def percentile(finished: Sequence[Done], share: float) -> float:
    """Seconds below which that share of the attempts took."""
    return sorted(done.seconds for done in finished)[int(share * (len(finished) - 1))]


def steady(seconds: float = 0.01) -> Service:
    """Every answer takes as long."""
    return lambda place, now, chance: (seconds, True)


def uneven(mean: float = 0.01) -> Service:
    """Exponential: most answers are quick, a few take several times as long."""
    return lambda place, now, chance: (chance.expovariate(1 / mean), True)


def spread(median: float = 0.01, sigma: float = 0.4) -> Service:
    """Log-normal, as most real services are."""
    return lambda place, now, chance: (median * chance.lognormvariate(0.0, sigma), True)
