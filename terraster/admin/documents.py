"""Documents that filters need from a URL, such as the keys of an issuer of tokens: fetched here, in the admin worker, and nowhere else.

`terraster.policy.fetching` decides when. A document that its filter can use is written into a file of `state_dir`, and the master takes it as
it takes every file that changed (`terraster.master.filter_files`). So all workers have the same one, a restart has it at once, and the last
good one stays while the server is away or talks nonsense. Nobody waits for a server but the greenlets of this module.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gevent.event import Event
from gevent.pool import Pool

from ..certs.acme_store import write
from ..config.filter_sources import file_of
from ..config.settings.kinds import Fetch, Source
from ..config.snapshot import Filters, Snapshot
from ..errors import TerrasterError
from ..policy.fetching import Fetched, next_fetch
from ..state.table import Table
from . import fetch, readings

__all__ = ["Documents", "wishes"]

_LEAST = 0.05  # seconds between two turns
_LOOK = 1.0  # seconds between two looks at the counters
_IDLE = 60.0  # the same, if no filter needs a document
_NO_SLOT = -1  # for paths without a location
_KEPT = 7 * 86400.0  # seconds for which a file stays that no filter needs
_TOGETHER = 4  # servers that are asked at the same time

Ask = Callable[..., dict[str, Any]]
Wished = Callable[[int, str, str], int]


class _Wanted(NamedTuple):
    """A document that the configuration needs. how: with the shortest `refresh` of all who need it. cells: slots of locations, kinds and
    counters that grow when a newer one is wanted"""

    source: Source
    how: Fetch
    cells: tuple[tuple[int, str, str], ...]


class Documents:
    """Fetches the documents that the running configuration needs.

    running: the configuration
    tell:    puts a question to the master; raises TerrasterError if it has gone
    log:     the program's log
    wished:  the value of a counter of a filter: slot of the location, kind, name
    get:     as `terraster.admin.fetch.fetch`
    clock:   time.monotonic; wall: time.time

    ``problems``: why no document, or no newer one, could be fetched, by URL without its query
    """

    def __init__(
        self,
        running: Callable[[], Snapshot],
        tell: Ask,
        log: Any,
        wished: Wished,
        get: Callable[[str, str], bytes] = fetch.fetch,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._running = running
        self._tell = tell
        self._log = log
        self._wished = wished
        self._get = get
        self._clock = clock
        self._wall = wall
        self._tidied: tuple[str, frozenset[str]] | None = None
        self._wake = Event()
        self._known: dict[str, Fetched] = {}
        self._seen: dict[str, int] = {}  # wishes when the last fetch began
        self._news = False  # the master has not taken what was written
        self.problems: dict[str, str] = {}

    def changed(self) -> None:
        """Another configuration runs."""
        self._wake.set()

    def run(self) -> None:
        """For ever, in a greenlet of its own."""
        while True:
            self._wake.clear()
            try:
                seconds = self.turn()
            except Exception:
                self._log.exception("documents of filters cannot be fetched now")
                seconds = _IDLE
            self._wake.wait(seconds)

    def turn(self) -> float:
        """Fetch what is due. Returns the seconds until the next turn. Waits for servers."""
        snapshot = self._running()
        wanted = _wanted(snapshot)
        self._known = {url: known for url, known in self._known.items() if url in wanted}
        shown = {_shown(url) for url in wanted}
        self.problems = {url: why for url, why in self.problems.items() if url in shown}
        if not wanted:
            return _IDLE
        self._tidy(snapshot.state_dir, frozenset([file_of(snapshot.state_dir, one.source) for one in wanted.values()]))
        pool = Pool(_TOGETHER)
        now = self._clock()
        for url, one in wanted.items():
            wishes = sum(self._wished(*cell) for cell in one.cells)
            before = self._known.get(url, Fetched())
            known = replace(before, wanted=wishes != self._seen.get(url, wishes))
            self._seen.setdefault(url, wishes)
            self._known[url] = known
            if next_fetch(known, one.how.refresh) <= now:
                self._seen[url] = wishes
                pool.spawn(self._fetch, snapshot.state_dir, one)
        pool.join()
        if self._news:
            try:
                self._news = not self._tell("filter_files")["ok"]
            except TerrasterError:
                return _LOOK  # there is no master now; the next one reads the files
        due = min(next_fetch(self._known[url], one.how.refresh) for url, one in wanted.items())
        return max(_LEAST, min(due - self._clock(), _LOOK))

    def _tidy(self, state_dir: str, files: frozenset[str]) -> None:
        """Remove the documents that no filter has needed for long. files: those that are needed"""
        if self._tidied == (state_dir, files):
            return
        self._tidied = state_dir, files
        try:
            for entry in os.scandir(os.path.dirname(next(iter(files)))):
                if entry.path not in files and entry.stat().st_mtime < self._wall() - _KEPT:
                    os.unlink(entry.path)
        except FileNotFoundError:
            return
        except OSError as error:
            self._log.warning("cannot remove an old document: %s: %s", error.filename, error.strerror)

    def _fetch(self, state_dir: str, one: _Wanted) -> None:
        url, source = one.source.name, one.source
        try:
            octets = self._get(url, one.how.ca_file)
            source.check(octets)
            file = file_of(state_dir, source)
            if _octets(file) != octets:
                write(file, octets)
                self._news = True
        except (TerrasterError, ValueError) as error:
            self._failed(url, str(error) if isinstance(error, TerrasterError) else f"the answer {error}")
            return
        except OSError as error:
            self._failed(url, f"it cannot be kept: {error.filename}: {error.strerror}")
            return
        except Exception as error:
            self._log.exception("%s cannot be fetched", _shown(url))
            self._failed(url, type(error).__name__)
            return
        self._known[url] = Fetched(self._clock())
        if self.problems.pop(_shown(url), ""):
            self._log.info("%s was fetched again", _shown(url))

    def _failed(self, url: str, why: str) -> None:
        """Note a failure. The log has each reason once."""
        self._known[url] = replace(self._known[url], tried=self._clock(), failures=self._known[url].failures + 1)
        if self.problems.get(_shown(url)) != why:
            self.problems[_shown(url)] = why
            self._log.warning(
                "%s was not fetched: %s; it is tried again, and what was fetched before stays in use", _shown(url), why
            )


def wishes(table: Table, cells: Callable[[], dict[tuple[str, str], int]]) -> Wished:
    """The values of counters in the shared table. cells: the cell of each counter in a location's row, by kind and name."""

    def wished(slot: int, kind: str, counter: str) -> int:
        cell, row = cells()[kind, counter], table.unrouted if slot == _NO_SLOT else slot
        return table.consistent(lambda: sum(table.q[table.seat_location(seat, row) + cell] for seat in readings.proxy_seats(table)))

    return wished


def _wanted(snapshot: Snapshot) -> dict[str, _Wanted]:
    """The documents that a configuration needs, by URL."""
    found: dict[str, _Wanted] = {}
    for slot, kind, source in _uses(snapshot):
        assert source.fetch is not None
        cell = (slot, kind, source.fetch.wanted)
        before = found.get(source.name)
        if before is None:
            found[source.name] = _Wanted(source, source.fetch, (cell,))
        else:
            refresh = min(before.how.refresh, source.fetch.refresh)
            cells = before.cells if cell in before.cells else (*before.cells, cell)
            found[source.name] = _Wanted(before.source, before.how._replace(refresh=refresh), cells)
    return found


def _uses(snapshot: Snapshot) -> Iterator[tuple[int, str, Source]]:
    """Each use of a fetched document: slot of the location, kind, source."""
    yield from _of(_NO_SLOT, snapshot.filters)
    for service in snapshot.services:
        yield from _of(_NO_SLOT, service.filters)
        for location in service.locations:
            yield from _of(location.slot, location.filters)


def _of(slot: int, filters: Filters) -> Iterator[tuple[int, str, Source]]:
    for kind, settings in filters:
        for source in settings.sources():
            if source.fetch is not None:
                yield slot, kind, source


def _shown(url: str) -> str:
    """A URL without its query, which may have a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _octets(file: str) -> bytes:
    """The octets of a file, b"" if it is not there. Raises OSError."""
    try:
        with open(file, "rb") as stream:
            return stream.read(fetch.MOST + 1)
    except FileNotFoundError:
        return b""
