"""The access log: one line per request, made when the request ends, and written in batches away from the request path.

`AccessWriter.write` makes the line, so that nothing of the request is kept (`terraster.logs.lines`). `AccessWriter.flush` hands all lines that
are kept to the sink in one block. A worker flushes `FLUSH` seconds after the first one. A full batch flushes itself. So a worker that is killed
loses the lines of `FLUSH` seconds, and at most `BATCH` of each writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..config.snapshot import AccessLog
from ..exchange import Exchange
from .lines import lines_of
from .losses import Losses
from .outlets import Outlets
from .renderer import Renderer

__all__ = ["BATCH", "FLUSH", "AccessLogs", "AccessWriter"]

BATCH = 128  # lines that a writer keeps before it flushes itself
FLUSH = 0.01  # seconds after which a worker flushes a writer that keeps a line


class AccessWriter:
    """Writes the access lines of a service. One per distinct `AccessLog` and process; several may append to one path.

    config: with ``path`` "" every method does nothing
    warn:   called with one line of text about lost lines
    must:   True: StartError if the file cannot be opened; False: lines are lost until it can be opened
    soon:   called when the first line is kept; it sees to it that `flush` is called `FLUSH` seconds later
    losses: counts the lines lost to a full disk, a broken pipe or a slow reader

    Raises StartError for an unknown format.
    """

    __slots__ = ("_keep", "_most", "_outlets", "_soon")

    def __init__(
        self,
        config: AccessLog,
        warn: Callable[[str], object],
        soon: Callable[[], object],
        *,
        must: bool = True,
        losses: Losses | None = None,
    ) -> None:
        lines = lines_of(Renderer(config))
        self._outlets = Outlets(config, lines, warn, must, losses) if config.path else None
        self._keep: Callable[[Exchange], int] = _nothing if self._outlets is None else self._outlets.keep
        self._most = BATCH
        self._soon = soon

    def write(self, exchange: Exchange) -> None:
        """Log a finished exchange. Never raises and never waits for a reader."""
        kept = self._keep(exchange)
        if kept >= self._most:
            self.flush()
        elif kept == 1:
            self._soon()

    def flush(self) -> None:
        """Write all lines that are kept, after those that a slow reader has not taken yet."""
        if self._outlets is not None and self._outlets.write():
            self._soon()

    def tend(self, now: float) -> None:
        """The work of a few times a second (`Sink.tend`). now: monotonic seconds"""
        if self._outlets is not None:
            self._outlets.tend(now)

    def reopen(self) -> None:
        """Finish the old file and open the path again. For USR1, after a log rotation."""
        self.flush()
        if self._outlets is not None:
            self._outlets.reopen()

    def close(self) -> None:
        """Flush and close. A request that outlives its configuration may still write later; its line is written at once."""
        self.flush()
        self._most = 1
        if self._outlets is not None:
            self._outlets.close()


class AccessLogs:
    """The writers of a process, one per distinct `AccessLog`. Services with the same settings share a writer.

    warn:   called with one line of text about lost lines
    soon:   called when there is something to flush; it sees to it that `flush` is called `FLUSH` seconds later
    losses: counts the lost lines of all writers
    """

    __slots__ = ("losses", "_soon", "_warn", "_writers")

    def __init__(self, warn: Callable[[str], object], soon: Callable[[], object]) -> None:
        self.losses = Losses()
        self._warn = warn
        self._soon = soon
        self._writers: dict[AccessLog, AccessWriter] = {}

    def writer(self, config: AccessLog) -> AccessWriter | None:
        """The writer for these settings; None if the log is off. Raises StartError for an unknown format.

        A file that cannot be opened costs lines and a warning, never the request. (The loader of the configuration has checked that the
        file can be opened.)
        """
        if not config.path:
            return None
        found = self._writers.get(config)
        if found is None:
            found = self._writers[config] = AccessWriter(config, self._warn, self._soon, must=False, losses=self.losses)
        return found

    def retain(self, configs: Iterable[AccessLog]) -> None:
        """Close the writers that no configuration in ``configs`` uses. Called after a reload; open requests may still write to them."""
        wanted = set(configs)
        for config in [config for config in self._writers if config not in wanted]:
            self._writers.pop(config).close()

    def flush(self) -> None:
        """Flush every writer."""
        for writer in self._writers.values():
            writer.flush()

    def tend(self, now: float) -> None:
        """The work of a few times a second. now: monotonic seconds"""
        for writer in self._writers.values():
            writer.tend(now)

    def reopen(self) -> None:
        """Reopen every file."""
        for writer in self._writers.values():
            writer.reopen()

    def close(self) -> None:
        """Flush and close every writer."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()


def _nothing(exchange: Exchange) -> int:
    """Keep nothing."""
    return 0
