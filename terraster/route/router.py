"""The router: listener and Host → the service's payload.

The order of matching does not depend on the order in the configuration: the exact name first, then the longest ``*.suffix``, then the
regular expressions (``~…``), the longest first, then ``*``. A wildcard matches one or more labels, as in nginx: ``*.example.com`` matches
a.example.com and a.b.example.com, but not example.com itself. An expression matches the whole name (`terraster.config.host_patterns`).

Every step but the expressions is a look-up in a dict, so 10,000 services cost as much as ten. Suffixes and expressions are tried only if the
listener has some. A router is immutable. `Router.updated` makes another one, which shares the listeners that do not change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from ..config.host_patterns import compiled, is_pattern
from ..config.patterns import Pattern

__all__ = ["Router"]

P = TypeVar("P")


class _Tables(NamedTuple, Generic[P]):
    """The tables of the names of one listener. suffixes: ".example.com" → payload; patterns: the host, "~…", → payload; default: only
    under "*"."""

    exact: dict[bytes, P]
    suffixes: dict[bytes, P]
    patterns: dict[bytes, P]
    default: dict[bytes, P]

    def copied(self) -> _Tables[P]:
        return _Tables(dict(self.exact), dict(self.suffixes), dict(self.patterns), dict(self.default))

    def entry(self, host: str) -> tuple[dict[bytes, P], bytes]:
        """The dict that has a host, and the host's key in that dict."""
        name = host.encode("ascii")
        if name == b"*":
            return self.default, name
        if name.startswith(b"*."):
            return self.suffixes, name[1:]
        return (self.patterns if is_pattern(host) else self.exact), name


class _Names(Generic[P]):
    """The host names of one listener. has_rules: True if there is more than exact names and a default."""

    __slots__ = ("default", "exact", "has_rules", "tables", "_patterns")

    def __init__(self, tables: _Tables[P]) -> None:
        self.tables = tables
        self.exact = tables.exact
        self.default: P | None = tables.default.get(b"*")
        longest_first = sorted(tables.patterns, key=_rank)
        self._patterns: tuple[tuple[str, Pattern, P], ...] = tuple(
            [(name.decode("ascii"), compiled(name.decode("ascii")), tables.patterns[name]) for name in longest_first]
        )
        self.has_rules = bool(tables.suffixes or self._patterns)

    def by_rule(self, host: bytes) -> tuple[str, P | None]:
        """The longest wildcard that matches, else the longest expression, else "*", each with its payload. At most 127 steps for the
        wildcards, because a host name has at most 127 labels."""
        suffixes = self.tables.suffixes
        at = host.find(b".", 1) if suffixes else -1
        while at > 0:
            payload = suffixes.get(host[at:])
            if payload is not None:
                return "*" + host[at:].decode("ascii"), payload
            at = host.find(b".", at + 1)
        if host:
            for name, pattern, payload in self._patterns:
                if pattern.fullmatch(host) is not None:
                    return name, payload
        return "*", self.default


def _rank(pattern: bytes) -> tuple[int, bytes]:
    return -len(pattern), pattern


class Router(Generic[P]):
    """Immutable. A payload may be anything but None."""

    __slots__ = ("_listeners",)

    def __init__(self, listeners: dict[str, _Names[P]]) -> None:
        self._listeners = listeners

    @classmethod
    def build(cls, entries: Iterable[tuple[str, str, P]]) -> Router[P]:
        """A router from (listener address, host, payload). ValueError for a host that is defined twice on a listener.

        A host is in lower case: a name, "*.example.com" or "*"; or it is "~" and a regular expression.
        """
        return cls({}).updated((), entries)

    def find(self, listener: str, host: bytes) -> P | None:
        """The payload for a host, or None. host: from `terraster.route.host.split_host`; b"" if the request had none."""
        names = self._listeners.get(listener)
        if names is None:
            return None
        payload = names.exact.get(host)
        if payload is not None:
            return payload
        if names.has_rules:
            return names.by_rule(host)[1]
        return names.default

    def rule(self, listener: str, host: bytes) -> str:
        """The host by which `find` has its payload, as configured; "" if it has none."""
        names = self._listeners.get(listener)
        if names is None:
            return ""
        if host in names.exact:
            return host.decode("ascii")
        rule, payload = names.by_rule(host)
        return "" if payload is None else rule

    def updated(self, remove: Iterable[tuple[str, str]], add: Iterable[tuple[str, str, P]]) -> Router[P]:
        """A router without ``remove`` (listener address, host) and with ``add``. To replace a payload, remove and add it.

        Only the dicts of the named listeners are copied. KeyError if an entry to remove does not exist, ValueError if an entry to add
        exists already.
        """
        touched: dict[str, _Tables[P]] = {}
        for listener, host in remove:
            table, name = self._tables(touched, listener).entry(host)
            del table[name]
        for listener, host, payload in add:
            table, name = self._tables(touched, listener).entry(host)
            if name in table:
                raise ValueError(f"{host} is defined twice on {listener}")
            table[name] = payload
        listeners = dict(self._listeners)
        for listener, tables in touched.items():
            if any(tables):
                listeners[listener] = _Names(tables)
            else:
                listeners.pop(listener, None)
        return Router(listeners)

    def _tables(self, touched: dict[str, _Tables[P]], listener: str) -> _Tables[P]:
        tables = touched.get(listener)
        if tables is None:
            names = self._listeners.get(listener)
            tables = _Tables({}, {}, {}, {}) if names is None else names.tables.copied()
            touched[listener] = tables
        return tables
