"""Access lines that wait to be written. A line is made when its request ends, so that nothing of the request is kept.

`lines_of` chooses the compiled way (`terraster.logs.compiled_lines`), which has the same octets, if it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from ..exchange import Exchange
from .renderer import Renderer

__all__ = ["CompiledLines", "Lines", "PureLines", "lines_of"]

CompiledLines: Callable[[Renderer], Lines] | None
"""The compiled way, None: this Terraster is not compiled."""

try:
    from . import compiled_lines

    CompiledLines = compiled_lines.CompiledLines
except ImportError:
    CompiledLines = None


class Lines(Protocol):
    """Lines of finished exchanges, kept until they are taken."""

    def add(self, exchange: Exchange) -> int:
        """Keep the line of a finished exchange. Returns how many are kept, or more if they are to be taken now."""

    def take(self) -> bytes:
        """The lines that are kept, which are forgotten."""

    def each(self, exchanges: Iterable[Exchange]) -> list[str]:
        """One line for each of these exchanges, which are not kept."""


class PureLines:
    """The way that needs no compiler. renderer: knows how lines look"""

    __slots__ = ("_kept", "_line")

    def __init__(self, renderer: Renderer) -> None:
        self._line = renderer.line
        self._kept: list[str] = []

    def add(self, exchange: Exchange) -> int:
        kept = self._kept
        kept.append(self._line(exchange))
        return len(kept)

    def take(self) -> bytes:
        block = "".join(self._kept).encode("ascii")
        self._kept.clear()
        return block

    def each(self, exchanges: Iterable[Exchange]) -> list[str]:
        return list(map(self._line, exchanges))


def lines_of(renderer: Renderer) -> Lines:
    """The lines that this renderer describes."""
    return PureLines(renderer) if CompiledLines is None else CompiledLines(renderer)
