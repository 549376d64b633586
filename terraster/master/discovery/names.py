"""The names of backends, and the addresses that they have from moment to moment.

    prepare   look up the names that are new, all at once, with a bounded wait; then
              backends by name → one backend for each address that the name has now
    commit    from now on these names and no others

Each distinct name is looked up once, however many backends use it, and again when its TTL is over (`LEAST_LIFE` to `MOST_LIFE` seconds).
Its addresses are a set: another order changes nothing. A look-up that fails, or has an empty answer, changes nothing: the last good
answer is used on, and the look-up is tried again after 1, 2, 4 … `MOST_LIFE_OF_FAILURE` seconds. A pool is never emptied by DNS. A
name that never resolved leaves its backend as it is, without an address: it is down until the name resolves.

`endpoints` makes backends of the answers. Of an answer with more than `MOST_ENDPOINTS` the first are used.

Answers that change have the configuration run anew with them (`Reloader.refresh`); those that come within `_GATHER` seconds go
together. There new addresses are probed before they get requests, and what runs on old ones ends by itself.

Master only; look-ups run in greenlets, `CONCURRENT` at most of each kind: names that resolve do not wait behind those that do not.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import gevent
from gevent.event import Event

from terraster.config.snapshot import Service, Snapshot
from terraster.logs.program import ProgramLog
from terraster.master.agenda import Agenda, Entry
from terraster.master.line import Line
from terraster.master.participant import Participant, Proposal
from terraster.net.yielding import yield_to_loop

from .endpoints import endings, expand, is_named, shown
from .resolver import Endpoint, Resolution, Resolver, Unresolved

__all__ = ["CONCURRENT", "FIRST_ROUND", "MOST_ENDPOINTS", "UNRESOLVED", "Names"]

CONCURRENT = 64  # look-ups under way at once, of names that resolve, are new, or failed the last time; a few sockets each
MOST_ENDPOINTS = 64  # endpoints of one name
FIRST_ROUND = 2.0  # seconds that a start or a reload waits for names never looked up before
LEAST_LIFE, MOST_LIFE = 1.0, 300.0  # seconds that an answer is used, whatever its TTL says
LEAST_LIFE_OF_FAILURE, MOST_LIFE_OF_FAILURE = 1.0, 30.0
UNRESOLVED = "the name does not resolve"
_GATHER = 0.2  # seconds that changes are gathered before they are put into effect
_AGAIN = 10.0  # seconds until what could not be put into effect is tried again
_TURN = 100  # services expanded between two turns of the event loop: some 5 ms
_LOOKED_AT = 2000  # services in which nothing changed, likewise
_NAMED = 8  # addresses that a log line names before it only counts

Key = tuple[str, bool]  # host, and whether its SRV records are meant


class _Name:
    """One name. ``endpoints``: of the last good answer, () before it. ``places``: what their ids end in, likewise. ``serial``: grows
    when they change. ``failure``: why the last look-up failed, "" if it did not. ``first``: set once there was a result. ``turn``: the
    number of its entry in the schedule that counts. ``excess``: the answer has more than are used."""

    __slots__ = (
        "key",
        "endpoints",
        "places",
        "excess",
        "serial",
        "since",
        "ttl",
        "asked",
        "failure",
        "failing_since",
        "failures",
        "first",
        "dropped",
        "turn",
    )

    def __init__(self, key: Key) -> None:
        self.key = key
        self.endpoints: tuple[Endpoint, ...] = ()
        self.places: tuple[str, ...] = ()
        self.excess = False
        self.serial = 0
        self.since = 0.0
        self.ttl = 0.0
        self.asked = 0.0
        self.failure = ""
        self.failing_since = 0.0
        self.failures = 0
        self.first = Event()
        self.dropped = False
        self.turn = 0


_Uses = tuple[tuple[_Name, int], ...]


class Names(Participant):
    """The names of one master.

    log:     gunicorn's logger; a line for each name that changes, begins to fail, or resolves again
    changed: puts new answers into effect and says whether that went well; may wait
    make:    makes a `Resolver` for ``Snapshot.nameservers``
    """

    name = "names"

    def __init__(
        self,
        log: ProgramLog,
        agenda: Agenda,
        changed: Callable[[], bool],
        make: Callable[[tuple[str, ...]], Resolver] = Resolver,
    ) -> None:
        self._agenda = agenda
        self._log = log
        self._changed = changed
        self._make = make
        self._resolver = make(())
        self._next = self._resolver  # the one of the last proposal
        self._names: dict[Key, _Name] = {}
        self._met: dict[Key, _Name] = {}
        self._applied: dict[str, tuple[Service, _Uses, Service]] = {}  # service → (as given, what it was made of, as expanded)
        self._made: dict[str, tuple[Service, _Uses, Service]] = {}
        self._told: set[str] = set()  # ids of backends that were reported as down for want of an address
        self._well, self._new, self._failing = (Line(CONCURRENT, self._work) for _ in range(3))
        self._resolved: Callable[[str, bool, str], None] | None = None
        self._ticket = itertools.count()
        self._telling: Entry | None = None
        self._gathering: Entry | None = None
        self._flusher: gevent.Greenlet | None = None

    def stop(self) -> None:
        """End all look-ups; the last answers stand."""
        if self._flusher is not None:
            self._flusher.kill()
        for line in (self._well, self._new, self._failing):
            line.kill()

    def abandon(self) -> None:
        """In a forked child: close the descriptors of look-ups under way."""
        for resolver in {self._resolver, self._next}:
            resolver.abandon()

    def prepare(self, new: Proposal) -> None:
        self._meet(new.snapshot, new.ending)
        new.snapshot = self.expand(new.snapshot)

    def _meet(self, snapshot: Snapshot, ending: Event | None) -> None:
        """Look up the names of the snapshot that are new; wait for them, but no longer than `FIRST_ROUND`, and
        not once ``ending`` is set."""
        self.rollback()
        if snapshot.nameservers != self._resolver.nameservers:
            self._next = self._make(snapshot.nameservers)
        for count, service in enumerate(snapshot.services, 1):
            if count % _LOOKED_AT == 0:
                yield_to_loop()
            for key in self._keys(service):
                if key not in self._names and key not in self._met:
                    name = self._met[key] = _Name(key)
                    self._schedule(name, 0.0)
        if self._met:
            round_ = gevent.spawn(gevent.wait, [name.first for name in self._met.values()], timeout=FIRST_ROUND)
            gevent.wait([round_] if ending is None else [round_, ending], count=1)
            round_.kill()

    def rollback(self) -> None:
        """Forget the names of the proposal: it is not applied."""
        for name in self._met.values():
            name.dropped = True
        self._met, self._made = {}, {}
        self._next = self._resolver

    def expand(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the addresses of now. A service in which nothing changed is the very object that it was the last time.
        Lets other greenlets run now and then."""
        self._made = {}
        services = []
        made = 0
        for count, service in enumerate(snapshot.services, 1):
            if count % _LOOKED_AT == 0:
                yield_to_loop()
            given, uses, expanded = self._applied.get(service.name, (None, (), service))
            if given is not service or any(name.dropped or name.serial != serial for name, serial in uses):
                uses = tuple((name, name.serial) for key in self._keys(service) if (name := self._find(key)) is not None)
                expanded = expand(service, self._found) if uses else service
                made += 1
                if made % _TURN == 0:
                    yield_to_loop()
            self._made[service.name] = (service, uses, expanded)
            services.append(expanded)
        if all(one is other for one, other in zip(services, snapshot.services, strict=True)):
            return snapshot
        return replace(snapshot, services=tuple(services))

    def commit(self, new: Proposal) -> None:
        """The last `expand` is what runs. Does not yield."""
        self._applied, self._made = self._made, {}
        names: dict[Key, _Name] = {}
        late = False
        for _given, uses, _expanded in self._applied.values():
            for name, serial in uses:
                names[name.key] = name
                late = late or name.serial != serial
        first = self._met.keys() & names.keys()
        for known in (self._names, self._met):
            for key, name in known.items():
                name.dropped = key not in names
        self._names, self._met = names, {}
        if self._next is not self._resolver:
            self._resolver = self._next
            for key, name in names.items():
                if key not in first:
                    self._schedule(name, 0.0)
        for key in sorted(first):
            if not names[key].endpoints:
                self._log.warning("%s; its backends are down until it does", _lacking(names[key]))
        if late:
            self._gather(_GATHER)

    def report(self, resolved: Callable[[str, bool, str], None]) -> None:
        """Call ``resolved(id, ok, reason)`` for each backend that runs without an address, and for each that has one again;
        from then on also where the reason is another one. Does not yield."""
        self._resolved = resolved
        lacking, present = self._lacking()
        for backend in sorted(present):
            resolved(backend, True, "")
        for backend, reason in lacking.items():
            resolved(backend, False, reason)
        self._told = set(lacking)

    def _tell(self) -> None:
        self._telling = None
        if self._resolved is not None:
            self.report(self._resolved)

    def _lacking(self) -> tuple[dict[str, str], set[str]]:
        """Backends of the snapshot that runs: those without an address, with the reason, and those that were reported and have one again."""
        lacking: dict[str, str] = {}
        present: set[str] = set()
        if not self._told and all(name.endpoints for name in self._names.values()):
            return lacking, present
        for _given, uses, expanded in self._applied.values():
            failures = {name.key: name.failure for name, serial in uses if not serial}
            if not failures and not self._told:
                continue
            for location in expanded.locations:
                for backend in location.backends:
                    failure = None if backend.address else failures.get((backend.host, backend.srv))
                    if failure is not None:
                        lacking[backend.id] = f"{UNRESOLVED}: {failure}" if failure else UNRESOLVED
                    elif backend.id in self._told:
                        present.add(backend.id)
        return lacking, present

    def detail(self) -> dict[str, dict[str, Any]]:
        """The answer and failures of each name. Times are time.time(), 0 = never; ``ttl`` in seconds; ``failure``: "" = the last look-up went
        well; ``failing_since``: when it began to fail."""
        return {
            _shown(name): {
                "endpoints": [shown(one) for one in name.endpoints],
                "since": name.since,
                "asked": name.asked,
                "ttl": name.ttl,
                "failure": name.failure,
                "failing_since": name.failing_since,
            }
            for name in self._names.values()
        }

    # From answers to backends.

    def _find(self, key: Key) -> _Name | None:
        return self._names.get(key) or self._met.get(key)

    def _found(self, host: str, srv: bool) -> Iterable[tuple[Endpoint, str]]:
        """The endpoints of a name with what their ids end in; nothing before its first answer."""
        name = self._find((host, srv))
        return () if name is None else zip(name.endpoints, name.places, strict=True)

    def _keys(self, service: Service) -> Iterator[Key]:
        """The names of a service, each once."""
        given, uses, _expanded = self._applied.get(service.name, (None, (), service))
        if given is service and not any(name.dropped for name, _serial in uses):
            return iter([name.key for name, _serial in uses])
        keys = [(backend.host, backend.srv) for location in service.locations for backend in location.backends if is_named(backend)]
        return iter(dict.fromkeys(keys))

    # Look-ups.

    def _schedule(self, name: _Name, seconds: float) -> None:
        name.turn = next(self._ticket)
        self._agenda.after(seconds, self._begin, name, name.turn)

    def _begin(self, name: _Name, turn: int) -> None:
        if turn == name.turn and not name.dropped:
            line = self._failing if name.failures else self._well if name.serial else self._new
            line.put((name, turn))

    def _work(self, due: tuple[_Name, int]) -> None:
        name, turn = due
        if not name.dropped and turn == name.turn:
            self._look_up(name)

    def _look_up(self, name: _Name) -> None:
        host, srv = name.key
        resolver = self._resolver if name.key in self._names else self._next
        try:
            answer = resolver.services(host, name.endpoints) if srv else resolver.addresses(host, name.endpoints)
        except Unresolved as error:
            life = self._failed(name, str(error))
        except Exception as error:
            self._log.exception("the look-up of %s broke off; it goes on", _shown(name))
            life = self._failed(name, f"{type(error).__name__}: {error}")
        else:
            life = self._answered(name, answer)
        name.asked = time.time()
        name.first.set()
        if not name.dropped:
            self._schedule(name, life if resolver in (self._resolver, self._next) else 0.0)

    def _failed(self, name: _Name, why: str) -> float:
        """Note it; the seconds until the next try."""
        first = not name.failures
        name.failures += 1
        if first:
            name.failing_since = time.time()
        if name.failure != why and not name.endpoints and self._resolved is not None and self._telling is None:
            self._telling = self._agenda.after(_GATHER, self._tell)
        name.failure = why
        if first and name.key in self._names:
            stays = f"the last answer stays: {_listed(name.endpoints)}" if name.endpoints else "its backends are down until it does"
            self._log.warning("%s; %s", _lacking(name), stays)
        return min(MOST_LIFE_OF_FAILURE, LEAST_LIFE_OF_FAILURE * 2.0 ** min(name.failures - 1, 10))

    def _answered(self, name: _Name, answer: Resolution) -> float:
        """Note it; the seconds until the next look-up."""
        again = bool(name.failures) and name.key in self._names
        name.failures, name.failure, name.failing_since, name.ttl = 0, "", 0.0, answer.ttl
        endpoints = tuple(sorted(sorted(answer.endpoints, key=lambda one: one.priority)[:MOST_ENDPOINTS]))
        excess = len(answer.endpoints) > MOST_ENDPOINTS
        if excess and not name.excess:
            count = len(answer.endpoints)
            self._log.warning("the name %s has %d endpoints: the first %d are used", _shown(name), count, MOST_ENDPOINTS)
        name.excess = excess
        if endpoints != name.endpoints:
            name.places = endings(endpoints, dict(zip(name.endpoints, name.places, strict=True)))
            name.endpoints, name.since = endpoints, time.time()
            name.serial += 1
            if name.key in self._names:
                self._log.info("the name %s resolves to %s now", _shown(name), _listed(name.endpoints))
                self._gather(_GATHER)
        elif again:
            self._log.info("the name %s resolves again, to what it did before", _shown(name))
        return min(MOST_LIFE, max(LEAST_LIFE, answer.ttl))

    def _gather(self, seconds: float) -> None:
        if self._gathering is None:
            self._gathering = self._agenda.after(seconds, self._begin_to_flush)

    def _begin_to_flush(self) -> None:
        self._gathering = None
        self._flusher = gevent.spawn(self._flush)

    def _flush(self) -> None:
        if not self._changed():
            self._gather(_AGAIN)


def _shown(name: _Name) -> str:
    return f"{name.key[0]} (SRV)" if name.key[1] else name.key[0]


def _lacking(name: _Name) -> str:
    why = f": {name.failure}" if name.failure else f" within {FIRST_ROUND:g} s"
    return f"the name {_shown(name)} does not resolve{why}"


def _listed(endpoints: tuple[Endpoint, ...]) -> str:
    rest = len(endpoints) - _NAMED
    return ", ".join(shown(one) for one in endpoints[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
