"""Where the lines of one access log go, and which of them: destinations for all lines, and for those of level error."""

from __future__ import annotations

from collections.abc import Callable

from ..config.log_targets import is_remote, remote
from ..config.loggers import AccessLog, Rotation
from ..exchange import Exchange
from .conditions import Choice
from .lines import Lines
from .losses import Losses
from .remote import RemoteLog
from .rotating import RotatingSink
from .sink import Sink

__all__ = ["Outlets", "sink"]

_ERROR = 500
"""The least status of a line of level error."""


class Outlets:
    """The destinations of one `AccessLog` in one process.

    lines: makes the lines
    warn, must, losses: as for `Sink`

    Lines that all go to the same files are made as requests end. Where a destination needs more than the line (its level, the fields of the
    journal), the exchanges are kept instead.
    """

    __slots__ = ("keep", "_all", "_alone", "_batch", "_choice", "_errors", "_lines", "_remotes")

    def __init__(self, config: AccessLog, lines: Lines, warn: Callable[[str], object], must: bool, losses: Losses | None) -> None:
        self._lines = lines
        self._batch: list[Exchange] = []
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
        self._alone = not self._errors and not self._remotes
        self.keep: Callable[[Exchange], int] = self._keep_exchange
        """Keep what a finished exchange leaves until `write`. Returns how many lines are kept, or more if they are to be written now."""
        if self._alone:
            self.keep = lines.add if self._choice.takes_all else self._keep_chosen

    def _keep_chosen(self, exchange: Exchange) -> int:
        return self._lines.add(exchange) if self._choice.takes(exchange) else 0

    def _keep_exchange(self, exchange: Exchange) -> int:
        self._batch.append(exchange)
        return len(self._batch)

    def write(self) -> bool:
        """Write what is kept. Never raises, and never waits for a reader. True if lines wait for another program that is there, and slow: then
        this is to be called again soon."""
        if self._alone:
            block = self._lines.take()
            if block:
                for sink in self._all:
                    sink.write(block)
            return False
        batch = [exchange for exchange in self._batch if self._choice.takes(exchange)]
        self._batch.clear()
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
