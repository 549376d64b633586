"""The commands of `terraster` that have a parser of their own. Each is imported only if it is called."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["OTHERS", "run"]

OTHERS = ("plugin", "bench")


def run(name: str, words: Sequence[str]) -> int:
    """Run one of them, with the words behind its name. Returns the exit code."""
    if name == "plugin":
        from terraster.cli import plugin

        return plugin.main(words)
    from terraster.cli import bench

    return bench.main(words)
