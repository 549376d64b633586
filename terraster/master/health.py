"""Active health checks: who is up, known before the first request, and what is known of it.

Backends that one probe can speak for (same address, same check) share it: 10,000 services on a few backends are a few probes. A
target is such a shared probe with its schedule and its verdict; its backends' cells in the shared table are written here and
nowhere else (`Backend.UP`, `SINCE`, `WEIGHT`, `PROBES`, `PROBE_FAILURES`).

    meet(snapshot)    probe what is new, once, all at once, with a bounded wait: nobody is sent to a backend that was never seen
    follow(snapshot)  from now on these backends; what stays keeps its verdict, its counters and its schedule

The first result decides at once, after that rise and fall count (`terraster.policy.health`). A target without a result yet is
down. Probes are spread over their interval, with a tenth of jitter either way, and never more than `CONCURRENT` run together.

Master only; each probe runs in a greenlet.
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections.abc import Iterator
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Pool

from terraster.config.snapshot import Backend as Configured
from terraster.config.snapshot import Snapshot
from terraster.policy.health import Verdict, first, observe
from terraster.state.table import Backend, Table

from .probe import Aim, Probing, Result

__all__ = ["CONCURRENT", "Prober", "Target"]

CONCURRENT = 512  # probes under way at once; each is a socket and a greenlet
_SLACK = 0.25  # seconds that the first round may take beyond the longest timeout
_NAMED = 3  # backends that a log line names before it only counts


class Target:
    """One probe and what it found.

    verdict: None before the first result
    since:   time.time() of the last change of state
    result:  of the last probe, or None
    """

    __slots__ = ("aim", "backends", "verdict", "since", "result", "probes", "failures", "first", "dropped", "followed")

    def __init__(self, aim: Aim) -> None:
        self.aim = aim
        self.backends: dict[str, tuple[int, str]] = {}  # id → (slot, words for the log)
        self.verdict: Verdict | None = None
        self.since = time.time()
        self.result: Result | None = None
        self.probes = 0
        self.failures = 0
        self.first = Event()
        self.dropped = False
        self.followed = False

    @property
    def up(self) -> bool:
        return self.aim.check.type == "none" or (self.verdict is not None and self.verdict.up)

    def names(self) -> str:
        """Its backends in words."""
        labels = sorted(label for _slot, label in self.backends.values())
        if not labels:
            return f"{self.aim.scheme}://{self.aim.authority}"
        rest = len(labels) - _NAMED
        return ", ".join(labels[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


class Prober:
    """All health checks of one master.

    table: where verdicts go
    log:   gunicorn's logger; one line for each change of state
    """

    def __init__(self, table: Table, log: Any) -> None:
        self._table = table
        self._log = log
        self._probing = Probing()
        self._pool = Pool(CONCURRENT)
        self._targets: dict[Aim, Target] = {}
        self._met: dict[Aim, Target] = {}
        self._due: list[tuple[float, int, Target]] = []
        self._ticket = itertools.count()
        self._more = Event()
        self._runner: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin to work on what will be asked for."""
        self._runner = gevent.spawn(self._run)

    def stop(self) -> None:
        """End all probes; the last verdicts stand."""
        if self._runner is not None:
            self._runner.kill()
        self._pool.kill()

    def abandon(self) -> None:
        """In a forked child: see `Probing.abandon`."""
        self._probing.abandon()

    def meet(self, snapshot: Snapshot) -> None:
        """Probe, once, what the snapshot has and we do not follow yet; wait for it, but no longer than the longest timeout.

        Any greenlet, one at a time; followed by `follow` or `part`.
        """
        self._met = {}
        for backend in _backends(snapshot):
            aim = Aim.of(backend)
            if aim not in self._targets and aim not in self._met:
                target = self._met[aim] = Target(aim)
                if aim.check.type == "none":
                    target.first.set()
                else:
                    self._schedule(target, 0.0)
        patience = max((aim.check.timeout for aim in self._met), default=0.0) + _SLACK
        gevent.wait([target.first for target in self._met.values()], timeout=patience)

    def part(self) -> None:
        """Forget those that were met: their snapshot is not applied."""
        for target in self._met.values():
            target.dropped = True
        self._met = {}

    def follow(self, snapshot: Snapshot) -> None:
        """From now on the backends of this snapshot (with slots) and no others. Writes the cells of all that are new or moved."""
        before, self._targets = self._targets, {}
        held = {target: target.backends for target in before.values()}
        for service in snapshot.services:
            for location in service.locations:
                for backend in location.backends:
                    aim = Aim.of(backend)
                    target = self._targets.get(aim)
                    if target is None:
                        target = self._targets[aim] = before.get(aim) or self._met.get(aim) or Target(aim)
                        target.backends = {}
                    words = f"backend {backend.url} of {service.name}{location.path}"
                    target.backends[backend.id] = (backend.slot, words)
                    self._table.q[self._table.backend(backend.slot) + Backend.WEIGHT] = backend.weight
                    if backend.id not in held.get(target, ()):
                        self._write(target, backend.slot)
        for aim, target in before.items():
            target.dropped = aim not in self._targets
        for target in self._targets.values():
            if not target.followed:
                target.followed = True
                self._introduce(target)
        self._met = {}

    def detail(self) -> dict[str, dict[str, Any]]:
        """What is known of each backend, by id. ``since``: time.time(); ``seconds``: duration of the last probe, -1 before it."""
        details = {}
        for target in self._targets.values():
            result = target.result
            known = {
                "up": target.up,
                "since": target.since,
                "reason": result.reason if result else ("no checks" if target.aim.check.type == "none" else "not probed yet"),
                "seconds": result.seconds if result else -1.0,
                "probes": target.probes,
                "probe_failures": target.failures,
            }
            for name in target.backends:
                details[name] = known
        return details

    def counts(self) -> tuple[int, int]:
        """(backends that are up, all backends)."""
        up = sum(len(target.backends) for target in self._targets.values() if target.up)
        return up, sum(len(target.backends) for target in self._targets.values())

    def _introduce(self, target: Target) -> None:
        """Log what the first round found, of those that are not well."""
        if not target.up:
            reason = target.result.reason if target.result else "no result yet"
            self._log.warning("%s is down: %s (first probe)", target.names(), reason)

    def _write(self, target: Target, slot: int) -> None:
        q, at = self._table.q, self._table.backend(slot)
        up = int(target.up)
        if q[at + Backend.UP] != up or not q[at + Backend.SINCE]:
            q[at + Backend.UP] = up
            q[at + Backend.SINCE] = int(target.since * 1e9)

    def _schedule(self, target: Target, seconds: float) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._ticket), target))
        self._more.set()

    def _run(self) -> None:
        while True:
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                target = heapq.heappop(self._due)[2]
                if not target.dropped:
                    self._pool.spawn(self._probe, target)  # waits while too many are under way
            self._more.clear()
            self._more.wait(self._due[0][0] - now if self._due else None)

    def _probe(self, target: Target) -> None:
        result = self._probing.probe(target.aim)
        if target.dropped:
            return
        self._note(target, result)
        interval = target.aim.check.interval
        spread = random.uniform(0.9, 1.1) if target.first.is_set() else random.random()
        target.first.set()
        self._schedule(target, interval * spread)

    def _note(self, target: Target, result: Result) -> None:
        check = target.aim.check
        target.result = result
        target.probes += 1
        target.failures += not result.ok
        q, table = self._table.q, self._table
        for slot, _words in target.backends.values():
            at = table.backend(slot)
            q[at + Backend.PROBES] += 1
            q[at + Backend.PROBE_FAILURES] += not result.ok
        before = target.verdict
        if before is None:
            target.verdict = first(result.ok)
        else:
            target.verdict = observe(before, result.ok, check.healthy, check.unhealthy)
        if target.verdict.up == (before is not None and before.up):
            return
        target.since = time.time()
        for slot, _words in target.backends.values():
            self._write(target, slot)
        if target.followed:
            needed = 1 if before is None else check.healthy if result.ok else check.unhealthy
            self._tell(target, result, needed)

    def _tell(self, target: Target, result: Result, needed: int) -> None:
        if result.ok:
            self._log.info("%s is up: %s (%d of %d probes passed)", target.names(), result.reason, needed, needed)
        else:
            self._log.warning("%s is down: %s (%d of %d probes failed)", target.names(), result.reason, needed, needed)


def _backends(snapshot: Snapshot) -> Iterator[Configured]:
    for service in snapshot.services:
        for location in service.locations:
            yield from location.backends
