"""The router: listener and Host → the service's payload.

The order of matching does not depend on the order in the configuration: the exact name first, then the longest ``*.suffix``, then
``*``. A wildcard matches one or more labels, as in nginx: ``*.example.com`` matches a.example.com and a.b.example.com, but not
example.com itself.

Every step is a look-up in a dict, so 10,000 services cost as much as ten. Suffixes are tried only if the listener has wildcards. A
router is immutable. `Router.updated` makes another one, which shares the listeners that do not change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

__all__ = ["Router"]

P = TypeVar("P")


class _Names(Generic[P]):
    """The host names of one listener."""

    __slots__ = ("exact", "suffixes", "default")

    exact: dict[bytes, P]
    suffixes: dict[bytes, P]  # b".example.com"
    default: P | None

    def __init__(self, exact: dict[bytes, P], suffixes: dict[bytes, P], default: P | None) -> None:
        self.exact = exact
        self.suffixes = suffixes
        self.default = default

    def by_suffix(self, host: bytes) -> P | None:
        """The payload of the longest wildcard that matches, else the default. At most 127 steps, because a host name has at most 127
        labels."""
        suffixes = self.suffixes
        at = host.find(b".", 1)
        while at > 0:
            payload = suffixes.get(host[at:])
            if payload is not None:
                return payload
            at = host.find(b".", at + 1)
        return self.default


class Router(Generic[P]):
    """Immutable. A payload may be anything but None."""

    __slots__ = ("_listeners",)

    def __init__(self, listeners: dict[str, _Names[P]]) -> None:
        self._listeners = listeners

    @classmethod
    def build(cls, entries: Iterable[tuple[str, str, P]]) -> Router[P]:
        """A router from (listener address, host, payload). ValueError for a host that is defined twice on a listener.

        A host is in lower case: a name, "*.example.com" or "*".
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
        if names.suffixes:
            return names.by_suffix(host)
        return names.default

    def updated(self, remove: Iterable[tuple[str, str]], add: Iterable[tuple[str, str, P]]) -> Router[P]:
        """A router without ``remove`` (listener address, host) and with ``add``. To replace a payload, remove and add it.

        Only the dicts of the named listeners are copied. KeyError if an entry to remove does not exist, ValueError if an entry to add
        exists already.
        """
        touched: dict[str, tuple[dict[bytes, P], dict[bytes, P], dict[bytes, P]]] = {}
        for listener, host in remove:
            table, name = _entry(self._tables(touched, listener), host)
            del table[name]
        for listener, host, payload in add:
            table, name = _entry(self._tables(touched, listener), host)
            if name in table:
                raise ValueError(f"{host} is defined twice on {listener}")
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


def _entry(tables: tuple[dict[bytes, P], dict[bytes, P], dict[bytes, P]], host: str) -> tuple[dict[bytes, P], bytes]:
    """The dict that has a host, and the host's key in that dict."""
    name = host.encode("ascii")
    if name == b"*":
        return tables[2], name
    if name.startswith(b"*."):
        return tables[1], name[1:]
    return tables[0], name
