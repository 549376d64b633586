"""Mirrors: the copies of requests that go to other servers (`terraster.filters.mirror`).

A copy is an exchange of its own, to the location that stands for the servers. It is sent when the original is over, by one of a few greenlets
for each target; the others wait in a queue, and there is a bound to what all of them keep in memory. One time bounds a copy from its
connection to the end of its answer, which is read only as far as it is compared. It is not logged, and not tried again.

A target whose copies fail again and again rests: then one copy tries it each second, until one is answered. So a server that is away costs
the worker next to nothing.

A worker that ends waits for no copy. A reload that takes a target away drops what waits for it, and ends the copies that are under way.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from terraster.errors import HttpError
from terraster.exchange import Exchange
from terraster.filters.copies import Copy, Target
from terraster.location_plan import LocationPlan
from terraster.plan import Plan, ServicePlan
from terraster.policy.comparison import Answered
from terraster.wire.edits import Edits

from .attempt import WatchedAttempt
from .data_plane import DataPlane
from .subrequest import Nobody, ask, end, location_of, source_of

__all__ = ["Mirrors"]

_DISCARDED = 65536
"""Octets of an answer's body that are read so that its connection can be used again, more if they are compared."""

_READ = 16384

_FAILURES = 5
"""Failures in a row after which a target rests."""

_REST = 1.0
"""Seconds from a failure to the next copy, while it rests."""

_KEPT = 50
"""Differences that are kept for each location."""

_TOLD = 200
"""Differences in one answer to an operator."""

_LONGEST = 500
"""Octets of a path."""


class _Line:
    """The copies for one target. running: greenlets that send them. under_way: those that are sent, by
    what is in place of their client.
    gone: True once a reload has taken the target away. failures: in a row. rests_until: monotonic time"""

    __slots__ = ("failures", "gone", "rests_until", "running", "under_way", "waiting")

    def __init__(self) -> None:
        self.failures = 0
        self.rests_until = 0.0
        self.gone = False
        self.running = 0
        self.under_way: dict[Nobody, Copy] = {}
        self.waiting: deque[Copy] = deque()


class Mirrors:
    """See `terraster.filters.runtime.Mirrors`. One for each worker. held: octets that are reserved"""

    __slots__ = ("held", "_differences", "_lines", "_places", "_plane")

    def __init__(self, plane: DataPlane) -> None:
        self.held = 0
        self._plane = plane
        self._differences: dict[tuple[str, str], deque[dict[str, Any]]] = {}
        self._lines: dict[tuple[str, str], _Line] = {}
        self._places: dict[tuple[str, str], tuple[ServicePlan, LocationPlan]] = {}

    def hold(self, octets: int, most: int) -> bool:
        if self.held + octets > most:
            return False
        self.held += octets
        return True

    def release(self, octets: int) -> None:
        self.held -= octets

    def send(self, copy: Copy) -> str:
        target: Target = copy.mirror.target
        key = copy.exchange.service.name, target.path
        line = self._lines.get(key)
        if line is None:
            if not _has(self._plane.plan, key):  # a reload has taken it away while the original was under way
                return "dropped"
            line = self._lines[key] = _Line()
        if line.failures >= _FAILURES and (line.running or self._plane.clock() < line.rests_until):
            return "target_failing"
        if line.running < target.concurrency:
            line.running += 1
            line.waiting.append(copy)
            self._plane.reactor.spawn(self._run, key, line)
        elif len(line.waiting) < target.queue:
            line.waiting.append(copy)
        else:
            return "queue_full"
        return ""

    def adopt(self, plan: Plan) -> None:
        """End the copies for targets that a new plan does not have, and forget the differences of locations that it does not have."""
        self._places.clear()  # they would keep an old plan in memory
        for key in [key for key in self._differences if not _has(plan, key)]:
            del self._differences[key]
        for key in list(self._lines):
            if not _has(plan, key):
                line = self._lines.pop(key)
                line.gone = True
                self._drop(line)
                for client in line.under_way:
                    self._plane.reactor.loop.run_callback(client.interrupt, HttpError("a reload has taken the mirror away"))

    def finish(self) -> None:
        """The worker ends, and with it all copies that wait or are under way."""
        for line in self._lines.values():
            self._drop(line)
            for copy in line.under_way.values():
                copy.mirror.dropped()

    def _drop(self, line: _Line) -> None:
        while line.waiting:
            copy = line.waiting.popleft()
            self.held -= copy.held
            copy.mirror.dropped()

    def _run(self, key: tuple[str, str], line: _Line) -> None:
        """Send the copies of a target until none waits. Runs in its own greenlet; raises nothing."""
        while line.waiting:
            copy = line.waiting.popleft()
            try:
                self._send(key, line, copy)
            except HttpError as error:
                if line.gone:
                    copy.mirror.dropped()
                else:
                    copy.mirror.failed(error)
                    self._failed(line)
            except Exception:
                self._plane.defect("a copy for a mirror ended by a defect")
            finally:
                self.held -= copy.held
        line.running -= 1
        if not line.running and not line.failures and self._lines.get(key) is line:
            del self._lines[key]

    def _failed(self, line: _Line) -> None:
        """A copy has failed: perhaps let the target rest, and skip what waits for it."""
        line.failures += 1
        if line.failures >= _FAILURES:
            line.rests_until = self._plane.clock() + _REST
            while line.waiting:
                copy = line.waiting.popleft()
                self.held -= copy.held
                copy.mirror.skipped("target_failing")

    def _send(self, key: tuple[str, str], line: _Line, copy: Copy) -> None:
        """Send a copy, and take the answer. Raises `HttpError`."""
        plane, sub = self._plane, copy.exchange
        sub.started = sub.asked = plane.clock()
        sub.client = client = Nobody()
        sub.connection = copy.connection
        sub.facts = {Mirrors: copy}
        sub.location = self._place(key, sub.service)
        copy.mirror.began()
        line.under_way[client] = copy
        plane.limit(sub, copy.mirror.target.timeout)
        try:
            answer = ask(plane, sub, _answer)
        finally:
            client.worker = None
            line.under_way.pop(client, None)
            plane.deadlines.pop(sub, None)
        line.failures = 0
        differs = copy.mirror.answered(copy, answer)
        if differs:
            self._remember(key[0], copy, differs)

    def _remember(self, service: str, copy: Copy, differs: dict[str, Any]) -> None:
        """Keep a difference for operators."""
        sub, where = copy.exchange, copy.mirror.where
        kept = self._differences.get((service, where))
        if kept is None:
            kept = self._differences[service, where] = deque(maxlen=_KEPT)
        kept.append(
            {
                "when": sub.wall,
                "request_id": sub.request_id.decode("ascii"),
                "method": sub.method.decode("ascii"),
                "path": sub.path[:_LONGEST].decode("ascii", "replace"),
                "service": service,
                "location": where,
                "to": sub.backend.backend.url,
                "differs": differs,
            }
        )

    def differences(self, service: str) -> list[dict[str, Any]]:
        """How answers to copies differed from those to their originals, the newest ones first. service: of this one only, "": of all.

        Each has ``when`` (seconds since 1970, of the original), ``request_id``, ``method``, ``path`` (without a query), ``service``,
        ``location``, ``to`` and ``differs`` (`terraster.policy.comparison.differences`)."""
        found = [one for key, kept in self._differences.items() if service in ("", key[0]) for one in kept]
        found.sort(key=_when, reverse=True)
        return found[:_TOLD]

    def _place(self, key: tuple[str, str], service: ServicePlan) -> LocationPlan:
        """The location of a target, with the hook that writes the head of copies. It shares all else with the one of the plan."""
        known = self._places.get(key)
        if known is not None and known[0] is service:
            return known[1]
        location = location_of(service.locations, key[1])
        made = LocationPlan.__new__(LocationPlan)
        for name in LocationPlan.__slots__:
            setattr(made, name, getattr(location, name))
        made.on_upstream = (_as_the_original,)
        if service is self._plane.plan.services.get(key[0]):
            self._places[key] = service, made
        return made


def _has(plan: Plan, key: tuple[str, str]) -> bool:
    """True if a plan has a location. key: the name of its service, and its label"""
    service = plan.services.get(key[0])
    return service is not None and key[1] in [location.label for location in service.locations]


def _as_the_original(exchange: Exchange, edits: Edits) -> None:
    """Edit the head of a copy as that of the original was, and mark it."""
    copy: Copy = exchange.facts[Mirrors]  # type: ignore[index]
    edits.drop |= copy.drop
    edits.extra += copy.extra


def _answer(plane: DataPlane, attempt: WatchedAttempt) -> Answered:
    """Read the answer: as much of its body as is compared, or all if it is short."""
    exchange, response = attempt.exchange, attempt.response
    copy: Copy = exchange.facts[Mirrors]  # type: ignore[index]
    exchange.status = response.status
    digest = copy.mirror.digest()
    source = source_of(plane, attempt)
    if source is not None:
        payload = source.here()
        octets = len(payload)
        if digest is not None:
            digest.feed(payload)
        while not source.done and (octets <= _DISCARDED or (digest is not None and not digest.more)):
            payload = source.read(_READ)
            octets += len(payload)
            if digest is not None:
                digest.feed(payload)
        if source.done:
            end(attempt, source)
    return Answered(response.status, response.fields, exchange.upstream_time, digest)


def _when(difference: dict[str, Any]) -> float:
    when: float = difference["when"]
    return when
