"""The counts of objectives (`slo`), and their file.

    STATE_DIR/history/objectives            the counts, `terraster.policy.series`; written anew each minute and renamed
    STATE_DIR/history/objectives.damaged    a file that could not be read; the last one is kept

The historian hands over the growth of each location's counters, once a minute, if this process writes the history. Another process reads what
its writer has written. So a kill loses the last minute at most.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from ..config.slo import Objective, Slo
from ..config.snapshot import Location, Snapshot
from ..net.yielding import yield_to_loop
from ..policy.burn import Assessment, assess, server_errors, slower
from ..policy.series import LARGEST, Key, Packable, Series, packed, unpacked
from ..state.cells import BUCKETS

__all__ = ["MOST", "Grown", "SloRow", "Slos"]

MOST = 2000
"""Objectives that are counted; the first ones of the configuration."""

_KEPT = 30 * 86400  # seconds after its last request for which the counts of an objective that is gone are kept
_ROWS_PER_TURN = 50


class Grown(NamedTuple):
    """How much the counters of a location have grown: requests, those answered with 5xx, calls of gRPC, those whose outcome counts as 5xx, and
    requests by bucket of `BUCKETS` and beyond."""

    location: Location
    requests: int
    errors: int
    calls: int
    failed_calls: int
    buckets: Sequence[int]


class SloRow(NamedTuple):
    """The state of one objective. location: its place"""

    service: str
    location: str
    state: Assessment


class _Wanted(NamedTuple):
    service: str
    location: Location
    slo: Slo
    objective: Objective

    @property
    def key(self) -> Key:
        return self.location.id, self.objective.counts


class Slos:
    """The objectives of one state directory.

    running: the configuration in effect. directory: of the history. wall: time.time
    """

    def __init__(self, running: Callable[[], Snapshot], directory: str, wall: Callable[[], float]) -> None:
        self._running = running
        self._path = os.path.join(directory, "objectives")
        self._wall = wall
        self._series: dict[Key, Series] = {}
        self._snapshot: Snapshot | None = None
        self._objectives: list[_Wanted] = []
        self._beyond = 0
        self._fresh = False  # there are counts that no file has
        self._read: tuple[int, int] | None = None  # time and octets of the file that was read last
        self._rows: list[SloRow] = []
        self._assessed: object = None
        self._changes = 0

    def count(self, minute: int, grown: Sequence[Grown]) -> None:
        """Count a minute. minute: its beginning, seconds since 1970"""
        by_location = {one.location.id: one for one in grown}
        for wanted in self._wanted():
            one = by_location.get(wanted.location.id)
            if one is None or not one.requests:
                continue
            bound = wanted.objective.bound
            bad = (
                slower(BUCKETS, one.buckets, bound)
                if bound
                else server_errors(one.requests, one.errors, one.calls, one.failed_calls)
            )
            series = self._series.get(wanted.key)
            if series is None:
                series = self._series[wanted.key] = Series()
            series.add(minute, one.requests, bad)
            self._fresh = True
        self._changes += 1

    def rows(self) -> list[SloRow]:
        """All objectives, in the order of the configuration, as they are in this minute."""
        wanted = self._wanted()
        now = self._wall()
        moment = self._changes, now // 60
        if moment != self._assessed:
            rows = []
            for number, one in enumerate(wanted, 1):
                state = assess(self._series.get(one.key) or Series(), one.objective, one.slo.window, now)
                rows.append(SloRow(one.service, one.location.place, state))
                if number % _ROWS_PER_TURN == 0:
                    yield_to_loop()
            self._rows, self._assessed = rows, moment
        return self._rows

    @property
    def beyond(self) -> int:
        """Objectives that are not counted, because there are too many."""
        self._wanted()
        return self._beyond

    def _wanted(self) -> list[_Wanted]:
        snapshot = self._running()
        if snapshot is not self._snapshot:
            every = [
                _Wanted(service.name, location, location.slo, objective)
                for service in snapshot.services
                for location in service.locations
                if location.slo is not None
                for objective in location.slo.objectives
            ]
            self._objectives, self._beyond = every[:MOST], max(0, len(every) - MOST)
            self._snapshot = snapshot
            self._changes += 1
        return self._objectives

    def parts(self) -> list[Packable]:
        """What `write` takes; [] if the file has all counts. Counts of objectives that are gone are let go after a while."""
        if not self._fresh:
            return []
        wanted = {one.key for one in self._wanted()}
        gone = sorted((series.last(), key) for key, series in self._series.items() if key not in wanted)
        many = len(self._series) - MOST
        for number, (last, key) in enumerate(gone):
            if number < many or last < self._wall() - _KEPT:
                del self._series[key]
        self._fresh = False
        return [(key, *series.octets()) for key, series in self._series.items()]

    def lost(self) -> None:
        """The parts were not written: the next ones have all of it."""
        self._fresh = True

    # Called in a thread, one at a time. All but `load` raise OSError.

    def write(self, parts: Sequence[Packable]) -> None:
        """Write the file; it is on the disk when this returns."""
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        path = f"{self._path}.new"
        octets = packed(parts)
        try:
            with open(path, "wb", opener=_private) as stream:
                stream.write(octets)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(path, self._path)
        except OSError:
            with suppress(OSError):
                os.unlink(path)
            raise

    def load(self) -> str:
        """Go on with the counts in the file. Returns what an operator should know, "": nothing. A file that cannot be read is put aside."""
        told = ""
        try:
            self._series = self._loaded()
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            aside = f"{self._path}.damaged"
            try:
                os.replace(self._path, aside)
                then = f"it is kept as {aside}"
            except OSError as failure:
                then = f"it could not be renamed: {failure.strerror}"
            told = f"the counts of objectives begin anew: {self._path} cannot be used: {why}; {then}"
        self._changes += 1
        return told

    def follow(self) -> None:
        """Show what the process that writes has written, if that is new."""
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return
        written = status.st_mtime_ns, status.st_size
        if written == self._read:
            return
        with suppress(ValueError):  # its writer reports it
            self._series = self._loaded()
        self._read = written
        self._changes += 1

    def _loaded(self) -> dict[Key, Series]:
        with open(self._path, "rb") as stream:
            octets = stream.read(LARGEST + 1)
        if len(octets) > LARGEST:
            raise ValueError(f"it has more than {LARGEST} octets")
        return unpacked(octets)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
