"""`terraster --explain REQUEST`: what Terraster would do with a request, and why, by a configuration on disk."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .options import add_option

if TYPE_CHECKING:
    from terraster.config.rules import Rules
    from terraster.config.snapshot import Snapshot

__all__ = ["REQUEST", "add_options", "explain", "joined"]

REQUEST = "'GET https://a.test/b'"
"""A request, for the help."""


def add_options(parser: argparse.ArgumentParser, when: str = "") -> None:
    """The options that say more about a request. when: before their help"""
    header = f"{when}a header of the request, such as 'Accept: text/html'; may be repeated"
    add_option(parser, "header", "-H", metavar="LINE", action="append", default=[], help=header)
    add_option(parser, "client", metavar="IP", default="", help=f"{when}the client's address (default: 192.0.2.1)")
    listener = f"{when}the listener that is asked (default: that of the port in the URL)"
    add_option(parser, "listener", metavar="ADDRESS", default="", help=listener)


def joined(words: Sequence[str]) -> list[str]:
    """The words of a command line. A method and a URL behind it, which were not quoted, become one word."""
    made: list[str] = []
    for word in words:
        if made and made[-1].isalpha() and made[-1].isupper() and word.startswith(("http://", "https://")):
            made[-1] += f" {word}"
        else:
            made.append(word)
    return made


def explain(
    load: Callable[[int], Snapshot],
    rules: Callable[[], Rules],
    text: str,
    fields: Sequence[str],
    client: str,
    listener: str,
    as_json: bool,
) -> int:
    """Explain one request by the configuration on disk, as if all backends were up. Returns the exit code. Raises ValueError in words,
    ConfigError or StartError."""
    from terraster.explain.course import courses, prepared
    from terraster.explain.document import document
    from terraster.explain.question import ask
    from terraster.explain.text import lines, strange

    question = ask(text, fields, client)
    found = courses(prepared(load(1)), question, listener, time.monotonic(), time.time())
    place = rules().place
    documents = [document(one, place) for one in found]
    if as_json:
        print(json.dumps(documents, indent=2))
    else:
        print("\n".join(lines(question.shown(), strange(question.port, documents, listener), documents, False)))
    return 0
