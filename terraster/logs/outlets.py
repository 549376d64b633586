"""Where the lines of one access log go, and which of them: destinations for all lines, and for those of level error."""

from __future__ import annotations

from collections.abc import Callable

from ..config.loggers import AccessLog, Rotation
from ..exchange import Exchange
from .losses import Losses
from .rotating import RotatingSink
from .sink import Sink

__all__ = ["Outlets", "sink"]

_ERROR = 500
"""The least status of a line of level error."""


class Outlets:
    """The destinations of one `AccessLog` in one process.

    warn, must, losses: as for `Sink`. render: makes one block of lines
    """

    __slots__ = ("_all", "_errors", "_least", "_render", "_simple")

    def __init__(
        self,
        config: AccessLog,
        render: Callable[[list[Exchange]], bytes],
        warn: Callable[[str], object],
        must: bool,
        losses: Losses | None,
    ) -> None:
        self._render = render
        self._least = config.least
        paths = (config.path, *config.others)
        self._all = tuple(sink(path, config.rotation, warn, must, losses) for path in paths)
        self._errors = tuple(sink(path, config.rotation, warn, must, losses) for path in config.errors if path not in paths)
        self._simple = self._all[0] if len(paths) == 1 and not self._errors and not config.least else None

    def write(self, batch: list[Exchange]) -> None:
        """Write the lines of these exchanges. Never raises, and never waits for a reader."""
        if self._simple is not None:
            self._simple.write(self._render(batch))
            return
        if self._least:
            batch = [exchange for exchange in batch if exchange.status >= self._least]
        if not batch:
            return
        block = self._render(batch)
        for sink in self._all:
            sink.write(block)
        if self._errors:
            failed = [exchange for exchange in batch if exchange.status >= _ERROR]
            if failed:
                block = self._render(failed)
                for sink in self._errors:
                    sink.write(block)

    def tend(self, now: float) -> None:
        """The work of a few times a second. now: monotonic seconds"""
        for sink in (*self._all, *self._errors):
            sink.tend(now)

    def reopen(self) -> None:
        """Open the paths again, after a rotation."""
        for sink in (*self._all, *self._errors):
            sink.reopen()

    def close(self) -> None:
        """Give slow readers half a second, and close."""
        for sink in (*self._all, *self._errors):
            sink.close()


def sink(path: str, rotation: Rotation | None, warn: Callable[[str], object], must: bool, losses: Losses | None = None) -> Sink:
    """The sink for a destination."""
    if rotation is None:
        return Sink(path, warn, must=must, losses=losses)
    return RotatingSink(path, rotation, warn, must=must, losses=losses)
