"""Documents that filters need from a URL, such as the keys of an issuer of tokens: fetched here, in the admin worker, and nowhere else.

`terraster.policy.fetching` decides when. A document that its filter can use is written into a file of `state_dir`, and the master takes it as
it takes every file that changed (`terraster.master.filter_files`). The last good one stays while the server is away or talks nonsense.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gevent.pool import Pool

from ..config.filter_sources import file_of
from ..config.settings.kinds import Fetch, Source
from ..config.snapshot import Filters, Snapshot
from ..errors import TerrasterError
from ..policy.fetching import Fetched, next_fetch
from ..state.table import Table
from . import fetch, readings
from .gatherer import LEAST, LONGEST, Ask, Gatherer

__all__ = ["Documents", "wishes"]

_LOOK = 1.0  # seconds between two looks at the counters
_NO_SLOT = -1  # for paths without a location
_TOGETHER = 4  # servers that are asked at the same time

Wished = Callable[[int, str, str], int]


class _Wanted(NamedTuple):
    """A document that the configuration needs. how: with the shortest `refresh` of all who need it. cells: slots of locations, kinds and
    counters that grow when a newer one is wanted"""

    source: Source
    how: Fetch
    cells: tuple[tuple[int, str, str], ...]


class Documents(Gatherer):
    """Fetches the documents that the running configuration needs.

    wished:  the value of a counter of a filter: slot of the location, kind, name
    get:     as `terraster.admin.fetch.fetch`
    clock:   time.monotonic

    ``problems`` are by URL without its query.
    """

    verb = "filter_files"
    word = "document"
    most = fetch.MOST

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
        super().__init__(running, tell, log, wall)
        self._wished = wished
        self._get = get
        self._clock = clock
        self._known: dict[str, Fetched] = {}
        self._seen: dict[str, int] = {}  # wishes when the last fetch began

    def turn(self) -> float:
        snapshot = self._running()
        wanted = _wanted(snapshot)
        self._known = {url: known for url, known in self._known.items() if url in wanted}
        shown = {_shown(url) for url in wanted}
        self.problems = {url: why for url, why in self.problems.items() if url in shown}
        if not wanted:
            return LONGEST
        files = frozenset([file_of(snapshot.state_dir, one.source) for one in wanted.values()])
        self._tidy(os.path.dirname(next(iter(files))), files)
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
        if not self._give():
            return _LOOK
        due = min(next_fetch(self._known[url], one.how.refresh) for url, one in wanted.items())
        return max(LEAST, min(due - self._clock(), _LOOK))

    def _fetch(self, state_dir: str, one: _Wanted) -> None:
        url, source = one.source.name, one.source
        try:
            octets = self._get(url, one.how.ca_file)
            source.check(octets)
            self._keep(file_of(state_dir, source), octets)
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
