"""Which conditions of a location a request does not fulfil. Each is asked alone, by the code of traffic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from terraster.config.match import Match
from terraster.config.snapshot import Location
from terraster.exchange import Exchange
from terraster.policy.predicates import Predicate

__all__ = ["unmet"]

_NOTHING = Match()


def unmet(location: Location, exchange: Exchange) -> str:
    """The conditions of a location that a request does not fulfil, in words; "" if it fulfils them all. The path itself is not one of them."""
    match = location.match
    if match is None:
        return ""
    preflights = any(name == "cors" for name, _ in location.filters)
    return " and ".join(
        [words for one, words in _conditions(match) if not Predicate(one, preflights=preflights).fits(exchange, exchange.path)]
    )


def _conditions(match: Match) -> Iterator[tuple[Match, str]]:
    """Each condition alone, and what fulfils it."""
    if match.methods:
        yield replace(_NOTHING, methods=match.methods), f"the method {' or '.join(match.methods)}"
    if match.clients:
        yield replace(_NOTHING, clients=match.clients), f"a client in {' or '.join(match.clients)}"
    if match.path_regex:
        yield replace(_NOTHING, path_regex=match.path_regex), f"a path that matches {match.path_regex}"
    for one in match.headers:
        yield replace(_NOTHING, headers=(one,)), _value("header", *one)
    for one in match.query:
        yield replace(_NOTHING, query=(one,)), _value("parameter", *one)
    for one in match.cookies:
        yield replace(_NOTHING, cookies=(one,)), _value("cookie", *one)


def _value(kind: str, name: str, wanted: str) -> str:
    if wanted in ("true", "false"):
        return f"{'the' if wanted == 'true' else 'no'} {kind} {name}"
    return (
        f"the {kind} {name} with a value that matches {wanted[1:]}"
        if wanted.startswith("~")
        else f"the {kind} {name} with the value {wanted}"
    )
