"""`limit_connections`: how many requests one client may have under way at the same time, counted exactly over all workers
(`terraster.state.clients`).

A request counts from the end of its head to the end of the response, a tunnel (WebSocket) while it lasts. A connection of HTTP/1.1 has at
most one of them, so for its clients the limit is one of busy connections. A client of HTTP/2 has many on one connection, and each counts.
Idle connections do not count: `limits.connections` and `timeouts.keepalive` bound them.

The locations of a service that inherit the entry share its limit, like those of `rate_limit`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from ..config.settings.base import Whole
from ..config.settings.kinds import FilterSettings
from ..errors import CLIENT, HttpError
from ..exchange import Exchange
from ..state.clients import Clients
from ..state.view import SeatView
from .client_key import ClientKey, Prefix
from .contract import Counter, Filter, Place, Stage
from .rate_limit import EntryName

__all__ = ["LimitConnections", "LimitConnectionsSettings"]


class LimitConnectionsSettings(FilterSettings):
    """How many requests each client may have under way at once."""

    enabled: bool = Field(True, description="False: no limit. `limit_connections: off` is short for that.")
    per_client: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Requests of one client at the same time. Some level must say it."
    )
    ipv6_prefix: Prefix = Field(64, description="Bits of an IPv6 address that count as one client, 1 to 128.")
    status: Annotated[Whole, Field(ge=400, le=599)] = Field(429, description="Status of a refusal, 400 to 599.")
    name: EntryName | None = Field(None, description="Tells entries apart.")


class LimitConnections(Filter):
    """Refuses requests of clients that have too many under way."""

    __slots__ = ("_clients", "_key", "_label", "_most", "_refused", "_status", "_uncounted")

    name: ClassVar[str] = "limit_connections"
    settings: ClassVar[type[FilterSettings]] = LimitConnectionsSettings
    stage: ClassVar[Stage] = Stage.LIMITS
    counters: ClassVar[tuple[Counter, ...]] = (
        Counter("refused", "Requests refused because their client had too many under way."),
        Counter("uncounted", "Requests let through uncounted because there was no room for another client."),
    )

    def __init__(self, settings: LimitConnectionsSettings, place: Place, view: SeatView) -> None:
        if settings.per_client is None:
            raise place.problem(self.name, "says nothing of `per_client`, here or on a wider level", entry=settings.entry)
        policy = f"{self.name}\0{place.scope(self.name, settings)}\0{settings.entry}"
        self._key = ClientKey(view.table.secret, policy, "client-ip", settings.ipv6_prefix)
        self._clients = Clients(view)
        self._label = settings.entry or "default"
        self._most = settings.per_client
        self._status = settings.status
        self._refused = place.tally("refused")
        self._uncounted = place.tally("uncounted")

    def held(self) -> dict[str, Any]:
        """The limit and the clients that this process remembers: ``kind name key most known``, see `ClientKey.known`."""
        return {
            "kind": self.name,
            "name": self._label,
            "key": self._key.kind,
            "most": self._most,
            "known": self._key.known(),
        }

    def on_request(self, exchange: Exchange) -> None:
        cell = self._clients.enter(self._key.number(exchange), self._most)
        if cell >= 0:
            if exchange.facts is None:
                exchange.facts = {}
            exchange.facts[self] = cell
        elif cell == Clients.REFUSED:
            self._refused.count()
            raise HttpError(
                "limit_connections: too many requests of this client at once",
                status=self._status,
                reason="http_request_denied",
                blame=CLIENT,
                retry_after=1,
            )
        else:
            self._uncounted.count()

    def on_log(self, exchange: Exchange) -> None:
        if exchange.facts is not None and (cell := exchange.facts.pop(self, None)) is not None:
            self._clients.leave(cell)
