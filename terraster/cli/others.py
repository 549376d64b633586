"""The commands of `terraster` that have a parser of their own. Each is imported only if it is called."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

__all__ = ["OTHERS", "parser", "run"]

OTHERS = {"plugin": "write and test plugins", "bench": "send requests to a server and measure"}
"""Their names, and what they are for."""


def parser(name: str) -> argparse.ArgumentParser:
    """The parser of one of them."""
    from terraster.cli import bench, plugin

    return plugin.parser() if name == "plugin" else bench.parser()


def run(name: str, words: Sequence[str]) -> int:
    """Run one of them, with the words behind its name. Returns the exit code."""
    if name == "plugin":
        from terraster.cli import plugin

        return plugin.main(words)
    from terraster.cli import bench

    return bench.main(words)
