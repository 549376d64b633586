"""The conditions of a location (`terraster.config.match`), compiled: does a request fulfil them?

Looked at is the request that a backend would get, before header rules: fields that Connection names are not there. Names of fields are the same
in upper and lower case, and names of cookies and parameters are not. A parameter is percent-decoded, and "+" in it is a blank, as forms
write it; a cookie is not decoded. If there are several of one name, one that fits is enough, and `false` means that there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from ..config.match import Conditions, Match
from ..config.patterns import Pattern, compile_pattern
from ..exchange import Exchange
from ..wire.cookies import cookie_values
from .networks import Networks

__all__ = ["Predicate"]


class _Wanted:
    """A condition about the values of one name. present: True or False if only that counts, else None"""

    __slots__ = ("name", "_pattern", "_present", "_value")

    def __init__(self, name: str, wanted: str) -> None:
        self.name = name.encode("utf-8")
        self._present = {"true": True, "false": False}.get(wanted)
        self._pattern: Pattern = compile_pattern(wanted[1:]) if wanted.startswith("~") else None
        self._value = wanted.encode("utf-8")

    def holds(self, values: Sequence[bytes]) -> bool:
        if self._present is not None:
            return bool(values) is self._present
        if self._pattern is None:
            return self._value in values
        for value in values:
            if self._pattern.fullmatch(value) is not None:
                return True
        return False


def _compiled(conditions: Conditions) -> tuple[_Wanted, ...]:
    return tuple([_Wanted(*condition) for condition in conditions])


class Predicate:
    """The conditions of one location, except for its path."""

    __slots__ = ("_clients", "_cookies", "_headers", "_methods", "_path", "_preflights", "_query")

    def __init__(self, match: Match, *, preflights: bool = False, folds_case: bool = False) -> None:
        """preflights: True if the location answers CORS preflights itself; each then has the method that it asks about. folds_case: True if
        upper and lower case of the path are the same."""
        self._path: Pattern = compile_pattern(match.path_regex, folds_case=folds_case) if match.path_regex else None
        self._methods = frozenset([method.encode("ascii") for method in match.methods])
        self._clients = Networks(match.clients) if match.clients else None
        self._headers, self._query, self._cookies = map(_compiled, (match.headers, match.query, match.cookies))
        self._preflights = preflights

    def fits(self, exchange: Exchange, path: bytes) -> bool:
        """True if a request fulfils the conditions. path: canonical"""
        if self._methods and exchange.method not in self._methods and not self._asks_about_one(exchange):
            return False
        if self._clients is not None and exchange.client_ip not in self._clients:
            return False
        if self._path is not None and self._path.fullmatch(path) is None:
            return False
        for one in self._headers:
            if not one.holds(_fields(exchange, one.name)):
                return False
        if self._query:
            parameters = _parameters(exchange.query)
            for one in self._query:
                if not one.holds([value for name, value in parameters if name == one.name]):
                    return False
        for one in self._cookies:
            if not one.holds(cookie_values(exchange.head.fields, one.name)):
                return False
        return True

    def _asks_about_one(self, exchange: Exchange) -> bool:
        if not self._preflights or exchange.method != b"OPTIONS" or not exchange.field(b"origin"):
            return False
        return exchange.field(b"access-control-request-method") in self._methods


def _fields(exchange: Exchange, wanted: bytes) -> list[bytes]:
    dropped = exchange.head.dropped
    if dropped is not None and wanted in dropped:
        return []
    return [bytes(value) for name, value in exchange.head.fields if name.lower() == wanted]


def _parameters(query: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    for pair in query.split(b"&") if query else ():
        name, _, value = pair.replace(b"+", b" ").partition(b"=")
        found.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return found
