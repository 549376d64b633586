"""Names of backends that do not resolve, or slowly. Terraster's own resolver is asked, as the master asks it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import gevent

from terraster.config.addresses import is_address
from terraster.config.snapshot import Snapshot
from terraster.master.discovery.resolver import Resolver, Unresolved

from .finding import Finding

__all__ = ["Asked", "ask", "check", "wanted"]

_SLOW = 1.0  # seconds
_MOST = 100  # names that are looked up
_ENOUGH = 10.0  # seconds for all of them


class Asked(NamedTuple):
    """The outcome of a look-up. why: it failed, "" = it did not"""

    name: str
    seconds: float
    why: str


def wanted(snapshot: Snapshot) -> list[tuple[str, bool]]:
    """The names of backends, each with True if it has SRV records."""
    found = {
        (backend.host, backend.srv): None
        for service in snapshot.services
        for location in service.locations
        for backend in location.backends
        if backend.host and not backend.socket and (backend.srv or not is_address(backend.host))
    }
    return list(found)


def ask(
    names: Iterable[tuple[str, bool]], nameservers: tuple[str, ...], clock: Callable[[], float] = time.monotonic
) -> list[Asked]:
    """Look names up, all at the same time."""
    resolver = Resolver(nameservers)

    def one(name: str, is_srv: bool) -> Asked:
        began = clock()
        try:
            (resolver.services if is_srv else resolver.addresses)(name)
        except Unresolved as error:
            return Asked(name, clock() - began, str(error))
        return Asked(name, clock() - began, "")

    asking = {name: gevent.spawn(one, name, is_srv) for name, is_srv in list(names)[:_MOST]}
    gevent.joinall(asking.values(), timeout=_ENOUGH)
    over = [(name, greenlet.value if greenlet.ready() else None) for name, greenlet in asking.items()]
    gevent.killall(asking.values())
    return [found or Asked(name, _ENOUGH, f"no answer within {_ENOUGH:g} s") for name, found in over]


def check(asked: Iterable[Asked]) -> Iterator[Finding]:
    for one in asked:
        if one.why:
            yield Finding(
                "dns",
                "problem",
                f"The name {one.name} of a backend does not resolve: {one.why}.",
                "A backend without an address gets no requests. One that had an address keeps it until it is down.",
                "See whether the name is right and the resolver answers (`getent hosts NAME`); see `nameservers` and /etc/resolv.conf.",
            )
        elif one.seconds >= _SLOW:
            yield Finding(
                "dns",
                "warning",
                f"The name {one.name} of a backend took {one.seconds:.1f} s to resolve.",
                "The first name server did not answer, or is far away. After a change of addresses the backends are wrong for as long.",
                "Put a name server that answers first (`nameservers`, or /etc/resolv.conf), best one on this host.",
            )
