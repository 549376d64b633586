"""Active health checks: which backends are up, known before the first request.

Backends that one probe can speak for (same address, same check) share it: 10,000 services on a few backends are a few probes. A
target is such a shared probe with its schedule and its verdict. Its verdict goes to `terraster.master.backends.states`, which
adds everything else that is known; this module writes only `BackendCells.PROBES` and `BackendCells.PROBE_FAILURES`.

    prepare   probe new backends, once, all at once, with a bounded wait: no request goes to a backend that was never seen
    commit    from now on these backends; one that stays keeps its verdict, its counters and its schedule

The first result decides at once, after that rise and fall count (`terraster.policy.health`). A target without a result yet is
down. A backend whose check is configured anew was seen before: its new target begins with the old one's verdict, and the new
thresholds decide from there. Otherwise one slow answer after a changed interval would take a whole service down.

Every change of `BackendCells.STATE` that a check brings is one line of the log, with its reason; of backends that are new only
those that are not healthy are named. Probes are spread over their interval, with a tenth of jitter either way, and never more than
`CONCURRENT` run together. While a result contradicts the state, the next probe comes after the fast interval (HAProxy's ``fastinter``), so
that a backend that has just started is used soon.

Master only; each probe runs in a greenlet. The module is longer than 400 lines because a target, its schedule and its verdict change together.
"""

from __future__ import annotations

import random
import resource
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from typing import Any

import gevent
from gevent.event import Event

from terraster.config.snapshot import Backend as Configured
from terraster.config.snapshot import Service, Snapshot
from terraster.errors import TerrasterError
from terraster.logs.program import ProgramLog
from terraster.master.agenda import Agenda
from terraster.master.discovery.names import UNRESOLVED
from terraster.master.line import Line
from terraster.master.participant import Participant, Proposal
from terraster.net.yielding import yield_to_loop
from terraster.policy.descriptors import finite, most_probes
from terraster.policy.health import Verdict, first, observe
from terraster.state.cells import BackendCells
from terraster.state.table import Table

from .heard import Heard
from .probe import Aim, Probing, Result
from .states import BackendStates

__all__ = ["CONCURRENT", "FIRST_ROUND", "KEPT", "Busy", "Prober", "Target"]

CONCURRENT = 512  # probes under way at once, fewer if descriptors are few; each is a socket and a greenlet
_SLACK = 0.25  # seconds that the first round may take beyond the longest timeout
FIRST_ROUND = 5.0  # seconds that a first round may take: a backend that has not answered by then is down until it does
KEPT = 5  # results of a target that are remembered
_TURN = 200  # services that `prepare` looks into between two turns of the event loop: some 5 ms
_NAMED = 3  # backends that a log line names before it only counts

AT_ONCE, PAUSE = 16, 1.0  # probes on demand that may be under way, and seconds between two of one target

_Aimed = tuple[Configured, Aim, str]  # a backend, how it is probed, words for the log


class Busy(TerrasterError):
    """Probes on demand are asked for too often."""


class Target:
    """One probe and what it found.

    verdict: None before the first result
    since:   time.time() of the last change of state
    result:  of the last probe, or None
    recent:  the last few, oldest first, each with its time.time()
    asked:   time.monotonic() of the last probe on demand, or None
    heir_of: the target whose verdict this one began with, until it has a result of its own
    """

    __slots__ = (
        "aim",
        "backends",
        "verdict",
        "since",
        "result",
        "recent",
        "probes",
        "failures",
        "first",
        "dropped",
        "heir_of",
        "asked",
    )

    def __init__(self, aim: Aim) -> None:
        self.aim = aim
        self.backends: dict[str, tuple[int, str]] = {}  # id → (slot, words for the log)
        self.verdict: Verdict | None = None
        self.since = time.time()
        self.result: Result | None = None
        self.recent: deque[tuple[float, Result]] = deque(maxlen=KEPT)
        self.probes = 0
        self.failures = 0
        self.first = Event()
        self.dropped = False
        self.heir_of: Target | None = None
        self.asked: float | None = None

    @property
    def up(self) -> bool:
        return self.is_trusted or (self.verdict is not None and self.verdict.up)

    @property
    def is_trusted(self) -> bool:
        """True if health checks are off, so the backend counts as healthy. Without an address it does not."""
        return self.aim.check.type == "none" and self.aim.address != ""

    @property
    def reason(self) -> str:
        """Why it is up or down, in a few words."""
        if self.is_trusted:
            return "no checks"
        if not self.aim.address:
            return UNRESOLVED
        if self.result is None:
            return "no result yet"
        if not self.result.ok or self.verdict is None or self.verdict.up:
            return self.result.reason
        failure = next((one.reason for _when, one in reversed(self.recent) if not one.ok), "")
        if not self.verdict.streak:  # begun with another's results, of which none counts for this one
            return failure or self.result.reason
        passed = f"{self.verdict.streak} of {self.aim.check.healthy} probes passed"
        return f"{failure}; {passed} since" if failure else passed

    @property
    def answer(self) -> str:
        """The beginning of the answer to the last probe, if that failed."""
        return self.result.answer if self.result is not None and not self.result.ok else ""

    @property
    def interval(self) -> float:
        """Seconds until the next probe, without jitter: fewer while the last result contradicts the state."""
        check = self.aim.check
        if self.verdict is not None and self.verdict.streak:
            return min(check.fast_interval, check.interval)
        return check.interval

    def inherit(self, old: Target) -> None:
        """Begin with what is known of the same backends under another check. No checks: they were in use, hence up."""
        self.heir_of = old
        self.verdict = Verdict(old.up)
        self.since, self.result, self.probes, self.failures = old.since, old.result, old.probes, old.failures
        self.recent = deque(old.recent, KEPT)
        self.first.set()

    def labels(self) -> list[str]:
        """Its backends in words."""
        return [label for _slot, label in self.backends.values()]


class Prober(Participant):
    """All health checks of one master.

    table:     where probes are counted
    log:       gunicorn's logger; one line for each change of state
    states: where verdicts go
    checked:   ``checked(id, begun, ok)``: a probe of this backend that began at ``begun`` (time.monotonic()) is over
    failed:    ``failed(aim, ids, reason)``: a probe failed
    """

    name = "prober"

    def __init__(
        self,
        table: Table,
        log: ProgramLog,
        states: BackendStates,
        agenda: Agenda,
        checked: Callable[[str, float, bool], None],
        failed: Callable[[Aim, Collection[str], str], object] | None = None,
    ) -> None:
        self._table = table
        self._log = log
        self._states = states
        self._checked = checked
        self._failed = failed
        self._probing = Probing()
        self._asking = 0  # probes on demand that are under way
        self._agenda = agenda
        limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._line = Line(min(CONCURRENT, most_probes(finite(limit))), self._probe)
        self._targets: dict[Aim, Target] = {}
        self._of: dict[str, Target] = {}  # by backend id
        self._met: dict[Aim, Target] = {}
        self._followed: dict[str, Service] = {}
        self._aims: dict[str, tuple[Service, list[_Aimed]]] = {}  # of those that `prepare` saw

    def stop(self) -> None:
        """End all probes; the last verdicts stand."""
        self._line.kill()

    def abandon(self) -> None:
        """In a forked child: see `Probing.abandon`."""
        self._probing.abandon()

    def prepare(self, new: Proposal) -> None:
        """Probe, once, what the snapshot has and nobody has seen yet; wait for it, but no longer than the longest timeout and
        than ``patience`` (seconds), and not once ``ending`` is set.

        Any greenlet, one at a time; followed by `commit` or `rollback`.
        """
        self._met, self._aims = {}, {}
        snapshot = new.snapshot
        unseen: dict[Aim, list[Configured]] = {}
        wanted: set[Aim] = set()
        left = Counter[Target]()
        coming = {service.name: service for service in snapshot.services}
        for service in self._followed.values():
            if coming.get(service.name) is not service:
                left.update(self._of[backend.id] for location in service.locations for backend in location.backends)
        for count, service in enumerate(self._fresh(snapshot), 1):
            if count % _TURN == 0:
                yield_to_loop()
            self._aims[service.name] = service, _aims(service)
            for backend, aim, _words in self._aims[service.name][1]:
                wanted.add(aim)
                if aim not in self._targets:
                    unseen.setdefault(aim, []).append(backend)
        ids = self._of
        # a backend that is renamed and checked anew in one go is found by its address, if no other backend is still checked the old way
        unused = [target for target, count in left.items() if count == len(target.backends) and target.aim not in wanted]
        places = {_place(target.aim): target for target in unused}
        for aim, backends in unseen.items():
            target = self._met[aim] = Target(aim)
            held = [ids[backend.id] for backend in backends if backend.id in ids]
            # the same id at another address (a name that changed) was not seen there before
            known: list[Target | None] = [one for one in held if _place(one.aim) == _place(aim)] or [places.get(_place(aim))]
            old = max((one for one in known if one is not None), key=lambda one: one.up, default=None)
            if old is not None and (old.verdict is not None or old.is_trusted):
                target.inherit(old)
            if aim.check.type == "none":
                target.first.set()
            else:
                self._schedule(target, aim.check.interval * random.random() if target.heir_of else 0.0)
        self._wait([target for target in self._met.values() if not target.first.is_set()], new.ending, new.patience or FIRST_ROUND)

    def _wait(self, targets: list[Target], ending: Event | None, patience: float) -> None:
        if not targets:
            return
        patience = min(patience, max(target.aim.check.timeout or patience for target in targets) + _SLACK)
        round_ = gevent.spawn(gevent.wait, [target.first for target in targets], timeout=patience)
        gevent.wait([round_] if ending is None else [round_, ending], count=1)
        round_.kill()

    def rollback(self) -> None:
        """Forget the backends of the proposal: it is not applied."""
        for target in self._met.values():
            target.dropped = True
        self._met, self._aims = {}, {}

    def _fresh(self, snapshot: Snapshot) -> list[Service]:
        """The services that are not the objects that are followed."""
        followed = self._followed
        return [service for service in snapshot.services if followed.get(service.name) is not service]

    def commit(self, new: Proposal) -> None:
        """From now on the backends of this snapshot (with slots) and no others, as the states do. Tells these of all that are
        new or are probed in another way. Services that are the same objects are not looked at. Does not yield."""
        snapshot = new.snapshot
        log = snapshot.access_log
        self._probing.sanitizer = Heard.sanitizer((*log.redact_query, *snapshot.program_log.masked), log.mask)
        followed, fresh = self._followed, self._fresh(snapshot)
        self._followed = {service.name: service for service in snapshot.services}
        known: dict[str, Target] = {}
        for service in followed.values():
            if self._followed.get(service.name) is not service:
                for location in service.locations:
                    for backend in location.backends:
                        target = known[backend.id] = self._of.pop(backend.id)
                        del target.backends[backend.id]
        turned: dict[Target, list[str]] = {}
        met: dict[Target, list[str]] = {}
        for service in fresh:
            given, aims = self._aims.get(service.name, (None, ()))
            for backend, aim, words in aims if given is service else _aims(service):
                found = self._targets.get(aim)
                if found is None:
                    found = self._targets[aim] = self._met.get(aim) or Target(aim)
                    if found.heir_of is not None:
                        found.inherit(found.heir_of)  # it may have turned since
                found.backends[backend.id] = (backend.slot, words)
                self._of[backend.id] = found
                if known.get(backend.id) is not found:
                    changed = self._states.probed(backend.id, found.up, found.since, found.reason, found.answer)
                    if backend.id in known and changed:
                        turned.setdefault(found, []).append(words)
                    elif backend.id not in known and not found.up:
                        met.setdefault(found, []).append(words)
        for target in (*known.values(), *self._met.values()):
            if not target.backends:
                target.dropped = True
                self._targets.pop(target.aim, None)
        self._met, self._aims = {}, {}
        for target, labels in turned.items():
            self._tell(target, labels, "since the reload")
        for target, labels in met.items():
            self._tell(target, labels, "first probe")

    def detail(self) -> dict[str, dict[str, Any]]:
        """Probes and verdict of each backend, by id. ``since``: time.time(); ``seconds``: duration of the last probe, -1 before it."""
        return self._details(list(self._targets.values()))

    def trouble(self) -> dict[str, dict[str, Any]]:
        return self._details([target for target in self._targets.values() if not target.up])

    def _details(self, targets: list[Target]) -> dict[str, dict[str, Any]]:
        details = {}
        for target in targets:
            known = {
                "up": target.up,
                "since": target.since,
                "reason": target.reason,
                "seconds": target.result.seconds if target.result else -1.0,
                "probes": target.probes,
                "probe_failures": target.failures,
            }
            for name in target.backends:
                details[name] = known
        return details

    def targets(self) -> set[Aim]:
        """The aims of all probes."""
        return set(self._targets)

    def recent(self, name: str) -> list[dict[str, Any]]:
        """The last probes of a backend, oldest first: ``when`` (time.time()) and `_told` of each."""
        target = self._of.get(name)
        found = target.recent if target is not None else ()
        return [{"when": when, **_told(one)} for when, one in found]

    def ask(self, name: str) -> dict[str, Any]:
        """Make one probe of a backend now, beside its schedule, and say what it found: ``ok reason seconds status answer``. It counts for
        nothing. Waits. Raises `Busy` if that has been asked for too often."""
        target = self._of[name]
        now = time.monotonic()
        if target.asked is not None and now - target.asked < PAUSE:
            raise Busy(f"this backend has been probed on demand less than {PAUSE:g} s ago")
        if self._asking >= AT_ONCE:
            raise Busy(f"{AT_ONCE} probes on demand are under way")
        self._asking += 1
        target.asked = now
        try:
            return _told(self._probing.probe(target.aim, keep=True))
        finally:
            self._asking -= 1

    def _schedule(self, target: Target, seconds: float) -> None:
        self._agenda.after(seconds, self._line.put, target)

    def _probe(self, target: Target) -> None:
        if target.dropped:
            return
        if target.backends and all(map(self._states.is_paused, target.backends)):
            self._schedule(target, target.interval)
            return
        begun = time.monotonic()
        try:
            result = self._probing.probe(target.aim)
            if not target.dropped:
                self._note(target, result, begun)
        except Exception:
            self._log.exception("the health check of %s failed; it goes on", _named(target.labels()))
        if target.dropped:
            return
        spread = random.uniform(0.9, 1.1) if target.first.is_set() else random.random()
        target.first.set()
        self._schedule(target, target.interval * spread)

    def _note(self, target: Target, result: Result, begun: float) -> None:
        check = target.aim.check
        target.result, target.heir_of = result, None
        target.recent.append((time.time(), result))
        target.probes += 1
        target.failures += not result.ok
        q, table = self._table.q, self._table
        for slot, _words in target.backends.values():
            at = table.backend(slot)
            q[at + BackendCells.PROBES] += 1
            q[at + BackendCells.PROBE_FAILURES] += not result.ok
        before = target.verdict
        if before is None:
            target.verdict = first(result.ok)
        else:
            target.verdict = observe(before, result.ok, check.healthy, check.unhealthy)
        if target.verdict.up != (before is not None and before.up):
            target.since = time.time()
        probed, up, since, reason, answer = self._states.probed, target.up, target.since, target.reason, target.answer
        turned = [words for name, (_slot, words) in target.backends.items() if probed(name, up, since, reason, answer)]
        if turned:
            needed = 1 if before is None else check.healthy if result.ok else check.unhealthy
            self._tell(target, turned, f"{needed} of {needed} probes {'passed' if result.ok else 'failed'}")
        for name in target.backends:
            self._checked(name, begun, result.ok)
        if self._failed is not None and not result.ok:
            self._failed(target.aim, target.backends, result.reason)

    def _tell(self, target: Target, labels: list[str], how: str) -> None:
        are = "is" if len(labels) == 1 else "are"
        if target.up:
            self._log.info("%s %s up: %s (%s)", _named(labels), are, target.reason, how)
        else:
            self._log.warning("%s %s down: %s (%s)", _named(labels), are, target.reason, how)


def _told(result: Result) -> dict[str, Any]:
    """``ok reason seconds status answer`` of a probe; status None: there was no response"""
    return {
        "ok": result.ok,
        "reason": result.reason,
        "seconds": result.seconds,
        "status": result.status or None,
        "answer": result.answer,
    }


def _named(labels: list[str]) -> str:
    """Backends in words, the first few by name."""
    rest = len(labels) - _NAMED
    return ", ".join(sorted(labels)[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _place(aim: Aim) -> tuple[str, str, int, str]:
    return aim.scheme, aim.host, aim.port, aim.address


def _aims(service: Service) -> list[_Aimed]:
    return [
        (backend, Aim.of(backend, service.strict_responses), f"backend {backend.display} of {location.id}")
        for location in service.locations
        for backend in location.backends
    ]
