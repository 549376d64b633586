"""Options of the commands: one spelling is listed by `--help`, others do the same. The nearest one is named for a word that is not known."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from .output import until_closed

__all__ = ["Parser", "add_option", "parse"]


class Parser(argparse.ArgumentParser):
    """A parser that names the nearest choice when it does not know one, and lists the choices when none is given. Its subparsers are of this
    class too."""

    def error(self, message: str) -> NoReturn:
        if message.endswith((": ACTION", ": COMMAND")):
            self.print_help(sys.stderr)
            self.exit(2, f"\n{self.prog}: error: which {message.rpartition(' ')[2]}?\n")
        super().error(message)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print a help or a version, which is an error if it cannot be done: argparse takes no notice of it."""
        if message and file is sys.stdout:
            if code := until_closed(self.prog, lambda: 0 * sys.stdout.write(message)):
                self.exit(code)
        else:
            super()._print_message(message, file)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += _nearest(str(value), map(str, action.choices or ()))
            raise


def parse(parser: argparse.ArgumentParser, words: Sequence[str], commands: Sequence[str] = ()) -> argparse.Namespace:
    """The arguments of a command line. Exits with 2 if a word is not known. commands: the first words that the parser does not know, because
    they have parsers of their own"""
    arguments, left = parser.parse_known_args(words)
    if left:
        known = (*commands, *_options(parser))
        parser.error(f"unrecognized arguments: {' '.join(left)}" + ("" if left[0] in known else _nearest(left[0], known)))
    return arguments


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The options that `--help` lists, those of all commands included."""
    for action in parser._actions:
        if action.help != argparse.SUPPRESS:
            yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _options(command)


def _nearest(word: str, known: Iterable[str]) -> str:
    from terraster.config.sentences import suggestion  # takes 50 ms, which a command line without a mistake need not wait for

    return suggestion(word.partition("=")[0], known)


def add_option(parser: argparse.ArgumentParser, name: str, *others: str, **settings: Any) -> None:
    """`--name`, with the settings of `ArgumentParser.add_argument`; `-name` and `others` do the same and are not listed."""
    settings["dest"] = name.replace("-", "_")
    parser.add_argument(f"--{name}", **settings)
    parser.add_argument(f"-{name}", *others, **{**settings, "help": argparse.SUPPRESS})
