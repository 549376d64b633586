"""Options of the commands: one spelling is listed by `--help`, others do the same."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_option"]


def add_option(parser: argparse.ArgumentParser, name: str, *others: str, **settings: Any) -> None:
    """`--name`, with the settings of `ArgumentParser.add_argument`; `-name` and `others` do the same and are not listed."""
    settings["dest"] = name.replace("-", "_")
    parser.add_argument(f"--{name}", **settings)
    parser.add_argument(f"-{name}", *others, **{**settings, "help": argparse.SUPPRESS})
