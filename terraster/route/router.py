"""The router: listener and Host → what serves it.

Names are matched in this order, whatever the order in the configuration: the exact name, the longest ``*.suffix``, ``*``. A
wildcard stands for one label or several (``*.example.com`` fits a.example.com and a.b.example.com, not example.com itself), as
nginx has it.

Every step is a look-up in a dict, so 10,000 services cost what ten do. Suffixes are walked only where wildcards exist. A router
does not change: `Router.updated` makes another one, which shares all listeners that stay the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

__all__ = ["Router"]

P = TypeVar("P")


class _Names(Generic[P]):
    """The names of one listener."""

    __slots__ = ("exact", "suffixes", "default")

    exact: dict[bytes, P]
    suffixes: dict[bytes, P]  # b".example.com"
    default: P | None

    def __init__(self, exact: dict[bytes, P], suffixes: dict[bytes, P], default: P | None) -> None:
        self.exact = exact
        self.suffixes = suffixes
        self.default = default

    def by_suffix(self, host: bytes) -> P | None:
        """The payload of the longest wildcard that fits, else the default. At most 127 steps: a host name has no more labels."""
        suffixes = self.suffixes
        at = host.find(b".", 1)
        while at > 0:
            payload = suffixes.get(host[at:])
            if payload is not None:
                return payload
            at = host.find(b".", at + 1)
        return self.default


class Router(Generic[P]):
    """Immutable. Payloads are anything but None."""

    __slots__ = ("_listeners",)

    def __init__(self, listeners: dict[str, _Names[P]]) -> None:
        self._listeners = listeners

    @classmethod
    def build(cls, entries: Iterable[tuple[str, str, P]]) -> Router[P]:
        """From (listener address, host, payload); hosts are lower case: exact, "*.example.com" or "*". ValueError for a host given
        twice."""
        return cls({}).updated((), entries)

    def find(self, listener: str, host: bytes) -> P | None:
        """The payload for a host, as `terraster.route.host.split_host` gives it (b"": none was sent), or None."""
        names = self._listeners.get(listener)
        if names is None:
            return None
        payload = names.exact.get(host)
        if payload is not None:
            return payload
        if names.suffixes:
            return names.by_suffix(host)
        return names.default

    def updated(self, remove: Iterable[tuple[str, str]], add: Iterable[tuple[str, str, P]]) -> Router[P]:
        """A router without ``remove`` (listener address, host) and with ``add``; to replace a payload, do both.

        Copies only the dicts of the listeners that are named. KeyError for one that is not there, ValueError for one that is there
        already.
        """
        touched: dict[str, tuple[dict[bytes, P], dict[bytes, P], dict[bytes, P]]] = {}
        for listener, host in remove:
            table, name = _place(self._tables(touched, listener), host)
            del table[name]
        for listener, host, payload in add:
            table, name = _place(self._tables(touched, listener), host)
            if name in table:
                raise ValueError(f"{host} is there twice on {listener}")
            table[name] = payload
        listeners = dict(self._listeners)
        for listener, (exact, suffixes, default) in touched.items():
            if exact or suffixes or default:
                listeners[listener] = _Names(exact, suffixes, default.get(b"*"))
            else:
                listeners.pop(listener, None)
        return Router(listeners)

    def _tables(
        self, touched: dict[str, tuple[dict[bytes, P], dict[bytes, P], dict[bytes, P]]], listener: str
    ) -> tuple[dict[bytes, P], dict[bytes, P], dict[bytes, P]]:
        tables = touched.get(listener)
        if tables is None:
            names = self._listeners.get(listener)
            if names is None:
                tables = ({}, {}, {})
            else:
                default = {} if names.default is None else {b"*": names.default}
                tables = (dict(names.exact), dict(names.suffixes), default)
            touched[listener] = tables
        return tables


def _place(tables: tuple[dict[bytes, P], dict[bytes, P], dict[bytes, P]], host: str) -> tuple[dict[bytes, P], bytes]:
    """The dict that a host belongs into, and its key there."""
    name = host.encode("ascii")
    if name == b"*":
        return tables[2], name
    if name.startswith(b"*."):
        return tables[1], name[1:]
    return tables[0], name
