"""Connections that still use an old configuration: which of them a reload moves to the new one, and when the others end.

    request     on a location that is as before: it belongs to the new generation. Else it goes on as it began.
    tunnel      the same; and if only other backends, weights or addresses changed, it goes on. Else it ends after `drain_timeout` and a
                random part of `drain_jitter`, so that not all clients come back at once.

`max_generations` bounds how many old generations a worker keeps for the others: the connections of the oldest end first.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from math import inf
from typing import Any

from terraster.config.snapshot import AccessLog, Limits, Location, Service
from terraster.errors import HttpError
from terraster.exchange import Exchange
from terraster.net.connection import Connection
from terraster.plan import Plan
from terraster.proxy import Proxy
from terraster.route.host import split_host

__all__ = ["CURRENT", "KEPT", "OUTDATED", "Generations", "judge"]

_OLD = "Terraster ended the tunnel, because its configuration is an old one"

CURRENT, KEPT, OUTDATED = "current", "kept", "outdated"


def judge(old: Service, new: Service | None, location: str, backend: str, url: str) -> str:
    """The consequence of a change of a service for a request at one of its locations.

    location: its id. backend, url: of the backend at which it is a tunnel; "" if it is none

    CURRENT: it may be counted as one of the new configuration. KEPT: it uses what the new one does not have, but may go on. OUTDATED: its
    location or its tunnel's backend has gone, or its location has other settings.
    """
    if new is None:
        return OUTDATED
    if old is new:
        return CURRENT
    before, after = _location(old, location), _location(new, location)
    if before is None or after is None:
        return OUTDATED
    if not backend:
        return CURRENT if before == after else OUTDATED
    if (
        _of_service(old) != _of_service(new)
        or _admission(old) != _admission(new)
        or _of_location(before) != _of_location(after)
        or all(one.url != url for one in after.backends)
    ):
        return OUTDATED
    return CURRENT if any(one.id == backend for one in after.backends) else KEPT


def _location(service: Service, name: str) -> Location | None:
    return next((location for location in service.locations if location.id == name), None)


def _of_service(service: Service) -> Service:
    """A service without the settings that matter only to other requests, and to handshakes."""
    return replace(service, hosts=(), listeners=(), locations=(), access_log=AccessLog(), limits=Limits(), tls=None, http2=None)


def _admission(service: Service) -> tuple[object, ...] | None:
    """The settings of TLS that decide which clients the service admits, None: it is served in clear."""
    return None if service.tls is None else service.tls.admission()


def _of_location(location: Location) -> Location:
    return replace(location, backends=(), departed=(), access_log=None, body_size=None, slo=None)


class Generations:
    """The connections of one worker by generation. Any greenlet except the hub may call the methods.

    counts: old generation → number of connections that use it, as `look` found them
    """

    def __init__(self, proxy: Proxy, connections: Iterable[Connection]) -> None:
        self._proxy = proxy
        self._connections = connections
        self._services: dict[int, dict[str, Service]] = {}  # by generation, for one look
        self.counts: dict[int, int] = {}

    def look(self) -> None:
        """Look at all connections: after each reload, and at every sign of life for requests that became tunnels meanwhile."""
        plan = self._proxy.plan
        tunnels = {exchange: tunnel for tunnel, exchange in self._proxy.tunnels.items()}
        now, snapshot = self._proxy.clock(), plan.snapshot
        old: dict[int, list[tuple[Any, Any]]] = {}  # by generation: the client of a request, or None, and its tunnel
        for connection in list(self._connections):
            exchanges, last = connection.exchanges(), connection.listener.last_plan
            if not exchanges and last is not None:
                old.setdefault(last.generation, []).append((None, None))
            for exchange in exchanges:
                if exchange.plan is plan:
                    continue
                tunnel = tunnels.get(exchange)
                verdict = self._judge(plan, exchange, connection, tunnel is not None)
                if verdict == CURRENT:
                    exchange.plan = plan
                    connection.routed = None  # it would keep the old plan in memory
                    continue
                old.setdefault(exchange.plan.generation, []).append((exchange.client, tunnel))
                if verdict == OUTDATED and tunnel is not None and tunnel.leave_at == inf:
                    tunnel.leave(now + snapshot.drain_timeout + random.random() * snapshot.drain_jitter, _OLD)
        self._services.clear()
        self.counts = {generation: len(old[generation]) for generation in sorted(old)}
        for generation in list(self.counts)[: max(0, len(self.counts) - snapshot.max_generations)]:
            for client, tunnel in old[generation]:
                if tunnel is not None:
                    tunnel.leave(now, _OLD)
                elif client is not None:
                    self._proxy.reactor.loop.run_callback(client.interrupt, _too_old())

    def oldest(self) -> int:
        """The oldest generation that a connection uses."""
        return next(iter(self.counts), self._proxy.plan.generation)

    def _judge(self, plan: Plan, exchange: Exchange, connection: Connection, is_tunnel: bool) -> str:
        service, location = exchange.service, exchange.location
        if service is None or location is None:
            return OUTDATED  # an answer of our own, which is over in a moment
        host = split_host(exchange.host)[0] if exchange.host else b""
        if plan.router.find(connection.listener.address, host) is not plan.services.get(service.name):
            return OUTDATED
        old, new = self._of(exchange.plan).get(service.name), self._of(plan).get(service.name)
        if old is None:
            return OUTDATED
        backend = exchange.backend.backend if is_tunnel else None
        return judge(old, new, location.id, backend.id if backend else "", backend.url if backend else "")

    def _of(self, plan: Plan) -> dict[str, Service]:
        services = self._services.get(plan.generation)
        if services is None:
            services = self._services[plan.generation] = {service.name: service for service in plan.snapshot.services}
        return services


def _too_old() -> HttpError:
    return HttpError("the configuration that the request began with is too old (max_generations)", status=503, close=True)
