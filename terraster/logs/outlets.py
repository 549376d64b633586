"""Where the lines of one access log go, and which of them: destinations for all lines, and for those of level error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..config.log_targets import is_remote, remote
from ..config.loggers import AccessLog, Rotation
from ..exchange import Exchange
from .conditions import Choice
from .losses import Losses
from .remote import RemoteLog
from .rotating import RotatingSink
from .sink import Sink

__all__ = ["Outlets", "sink"]

_ERROR = 500
"""The least status of a line of level error."""


class Lines(Protocol):
    """Makes the lines of a batch, one for each exchange, each with its end."""

    def lines(self, exchanges: list[Exchange]) -> bytes: ...

    def each(self, exchanges: list[Exchange]) -> list[str]: ...


class Outlets:
    """The destinations of one `AccessLog` in one process.

    warn, must, losses: as for `Sink`
    """

    __slots__ = ("_all", "_choice", "_errors", "_lines", "_remotes", "_simple")

    def __init__(self, config: AccessLog, lines: Lines, warn: Callable[[str], object], must: bool, losses: Losses | None) -> None:
        self._lines = lines
        self._choice = Choice(config)
        paths = (config.path, *config.others)
        errors = tuple(path for path in config.errors if path not in paths)
        self._all = tuple(sink(path, config.rotation, warn, must, losses) for path in paths if not is_remote(path))
        self._errors = tuple(sink(path, config.rotation, warn, must, losses) for path in errors if not is_remote(path))
        self._remotes = tuple(
            (RemoteLog(target, config, warn, losses), path in errors)
            for path in (*paths, *errors)
            if (target := remote(path)) is not None
        )
        alone = len(paths) == 1 and not errors and not self._remotes and self._choice.takes_all
        self._simple = self._all[0] if alone else None

    def write(self, batch: list[Exchange]) -> bool:
        """Write the lines of these exchanges, or of none. Never raises, and never waits for a reader. True if lines wait for another program
        that is there, and slow: then this is to be called again soon."""
        if self._simple is not None:
            if batch:
                self._simple.write(self._lines.lines(batch))
            return False
        batch = self._choice.of(batch)
        if batch:
            self._write(batch, self._lines.each(batch))
        else:
            for one, _ in self._remotes:
                one.pump()
        return any(one.waiting for one, _ in self._remotes)

    def _write(self, batch: list[Exchange], lines: list[str]) -> None:
        if self._all:
            block = "".join(lines).encode("ascii")
            for sink in self._all:
                sink.write(block)
        failed = [index for index, exchange in enumerate(batch) if exchange.status >= _ERROR]
        if failed and self._errors:
            block = "".join([lines[index] for index in failed]).encode("ascii")
            for sink in self._errors:
                sink.write(block)
        for one, only_errors in self._remotes:
            if not only_errors:
                one.send(batch, lines)
            elif failed:
                one.send([batch[index] for index in failed], [lines[index] for index in failed])

    def tend(self, now: float) -> None:
        """The work of a few times a second. now: monotonic seconds"""
        for sink in (*self._all, *self._errors):
            sink.tend(now)
        for one, _ in self._remotes:
            one.tend(now)

    def reopen(self) -> None:
        """Open the paths again, after a rotation."""
        for sink in (*self._all, *self._errors):
            sink.reopen()

    def close(self) -> None:
        """Give slow readers half a second, and close."""
        for sink in (*self._all, *self._errors):
            sink.close()
        for one, _ in self._remotes:
            one.close()


def sink(path: str, rotation: Rotation | None, warn: Callable[[str], object], must: bool, losses: Losses | None = None) -> Sink:
    """The sink for a destination."""
    if rotation is None:
        return Sink(path, warn, must=must, losses=losses)
    return RotatingSink(path, rotation, warn, must=must, losses=losses)
