"""The line on a terminal that says how far a load of `terraster bench` is."""

from __future__ import annotations

import os
import sys
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terraster.bench.fleet import Fleet

__all__ = ["Progress", "draws", "line"]

_BAR = 24  # characters of the bar
_REDRAW = 0.2  # seconds


def draws() -> bool:
    """True if standard error is a terminal that can draw a line again."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def line(done: float, words: str, columns: int) -> str:
    """The line of progress, with a bar if there is room for it. It leaves the last column empty, which would begin a new line."""
    facts = f"{done:4.0%}  {words}"
    bar = f"[{'#' * round(_BAR * done):<{_BAR}}] "
    return (bar + facts if len(bar + facts) < columns else facts)[: columns - 1]


class Progress:
    """A line on the terminal that says how far the load is."""

    def __init__(self, fleet: Fleet) -> None:
        """fleet: that runs the load"""
        self._fleet = fleet
        self._drawn = 0.0

    def show(self) -> None:
        """Draw it if it is time to. May be called as often as one likes."""
        now = monotonic()
        fleet = self._fleet
        if now - self._drawn < _REDRAW or not fleet.began:
            return
        load, total = fleet.load, fleet.result.total
        since = now - fleet.began - load.warm_up
        words = "warming up" if since < 0.0 else self._words(max(since, 1e-3))
        done = max(
            min(since / load.seconds, 1.0) if load.seconds else 0.0,
            (total.complete + total.unanswered) / load.requests if load.requests else 0.0,
            0.0,
        )
        columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80  # 0: a terminal that does not know
        self._drawn = now
        sys.stderr.write(f"\r\x1b[K{line(min(done, 1.0), words, columns)}")
        sys.stderr.flush()

    def _words(self, seconds: float) -> str:
        from terraster.bench.report import span

        total = self._fleet.result.total
        failed = f"  {total.failed:,} failed" if total.failed else ""
        return f"{total.complete:,} requests  {total.complete / seconds:,.0f}/s  p99 {span(total.latencies.quantile(0.99))}{failed}"

    def clear(self) -> None:
        """Take it away."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
