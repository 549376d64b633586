"""The gate of the management port: clients and requests that get no further, whatever they ask for.

In this order: an address that `api.allowed_ips` does not have (403), too many requests (429), a request that came through this Terraster
itself (403), a Host that is not a name of this port (421). All of it holds for open paths too, but probes of health may come with any Host:
orchestrators send them to an address.

A page of a foreign site that has its name resolved to 127.0.0.1 (DNS rebinding) shows itself by its name in Host. So on loopback without TLS
only names of this host are taken; with TLS such a page has no certificate. Where `api.host` is a name, that name alone is taken.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from ..config.addresses import is_loopback
from ..config.snapshot import Snapshot
from ..policy.networks import Networks
from . import own_sockets
from .own_sockets import End
from .peers import plain_address
from .server import FACTS, LOCAL
from .site import Environ, Refusal
from .throttle import PROBES, Throttle

__all__ = ["Gate"]

_LOCAL = frozenset(("localhost", "127.0.0.1", "[::1]"))
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^][:/@,\s]+)(?::[0-9]*)?")
_OWN = "own"  # in the facts of a connection: True if its client is one of our workers


class Gate:
    """A guard (`terraster.admin.site.Site`).

    running: the configuration in effect. workers: process ids of the proxy workers
    """

    def __init__(self, throttle: Throttle, running: Callable[[], Snapshot], workers: Callable[[], Iterable[int]]) -> None:
        self._throttle = throttle
        self._running = running
        self._workers = workers
        self._written: tuple[str, ...] = ()
        self._allowed = Networks(())

    def __call__(self, environ: Environ) -> None:
        """Raises `Refusal`."""
        snapshot = self._running()
        if snapshot.admin_allowed and plain_address(environ.get("REMOTE_ADDR", "")) not in self._networks(snapshot.admin_allowed):
            raise Refusal(403, "this address may not use the management API: see `api.allowed_ips`")
        self._throttle(environ)
        if self._came_through(environ):
            words = (
                "this request came through Terraster itself, which would publish the management API: a backend points at its port"
            )
            raise Refusal(403, words)
        if environ["PATH_INFO"] not in PROBES:
            _check_host(environ.get("HTTP_HOST", ""), snapshot)

    def _networks(self, written: tuple[str, ...]) -> Networks:
        if written != self._written:
            self._written, self._allowed = written, Networks(written)
        return self._allowed

    def _came_through(self, environ: Environ) -> bool:
        if any(one.split()[-1:] == ["terraster"] for one in environ.get("HTTP_VIA", "").split(",")):
            return True
        facts: dict[str, Any] | None = environ.get(FACTS)
        if facts is None:
            return False
        if _OWN not in facts:
            peer = End(environ.get("REMOTE_ADDR", ""), int(environ.get("REMOTE_PORT") or 0))
            owner = own_sockets.owner(peer, End(*facts[LOCAL]))
            facts[_OWN] = owner is not None and owner.uid == os.geteuid() and own_sockets.is_of(owner.inode, self._workers())
        return bool(facts[_OWN])


def _check_host(host: str, snapshot: Snapshot) -> None:
    """Raises `Refusal`. host: the field, "" if there is none: no browser leaves it out."""
    name = _name(host) if host else ""
    if snapshot.admin_host:
        taken = {snapshot.admin_host, *(_LOCAL if is_loopback(snapshot.admin_listen) else ())}
    elif snapshot.admin_tls is None and is_loopback(snapshot.admin_listen):
        taken = {*_LOCAL, _name(snapshot.admin_listen)}
    else:
        return
    if host and name not in taken:
        raise Refusal(421, f"this port does not answer for {name[:100] or host[:100]}; it answers for {', '.join(sorted(taken))}")


def _name(host: str) -> str:
    """The name or address in a Host field, without the port; the whole field if it is neither."""
    text = host.strip().lower()
    match = _HOST.fullmatch(text)
    return text if match is None else match[1].removesuffix(".")
