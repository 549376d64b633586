"""The requests that are under way at a worker: whose they are, where they are, and since when.

Nothing is noted about a request for this. Its phase follows from what its greenlet waits for:

    filters     a filter keeps it: a password is compared, another server is asked
    receiving   its body is read ahead of a backend
    queued      it waits for room at a backend, for one of the connections that a backend may have, or for the time of its next attempt
    connecting  to the backend
    sending     it is on its way to the backend, which may be waiting for the client's body
    waiting     the backend has it, and has not begun to answer
    streaming   the answer is on its way to the client
    tunnel      after an upgrade, such as a WebSocket
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

from terraster.exchange import Exchange
from terraster.logs.summary import FIELDS, Summaries
from terraster.net.connection import Connection
from terraster.net.http2.backend_request import BackendRequest
from terraster.net.stream import Stream
from terraster.net.tunnel import Tunnel
from terraster.net.upstream import Upstream
from terraster.net.yielding import yield_to_loop
from terraster.phases.data_plane import DataPlane

__all__ = ["PHASES", "open_requests"]

PHASES = FILTERS, RECEIVING, QUEUED, CONNECTING, SENDING, WAITING, STREAMING, TUNNEL = (
    "filters",
    "receiving",
    "queued",
    "connecting",
    "sending",
    "waiting",
    "streaming",
    "tunnel",
)

_PART = 1000  # connections between two pauses

_LEFT_OUT = ("when", "duration", "reason", "detail")


def open_requests(
    plane: DataPlane, connections: Iterable[Connection], service: str, backend: str, older: float, limit: int
) -> dict[str, Any]:
    """``open``: their number. ``requests``: the oldest ones first, with ``age phase upgrade`` and the fields of a summary that are known.

    service, backend (its URL or name): only theirs, "": all. older: only those that have taken longer, seconds. limit: of ``requests``
    """
    found: list[tuple[float, int, Exchange]] = []
    for number, connection in enumerate(list(connections)):
        if number % _PART == _PART - 1:
            yield_to_loop()
        if connection.downstream is not None:  # else it has ended meanwhile
            found += [(one.started, id(one), one) for one in connection.exchanges() if _is_wanted(one, service, backend)]
    now, summaries = plane.clock(), Summaries()
    waits = _waits(plane)
    tunnels = {exchange: tunnel for tunnel, exchange in plane.tunnels.items()}
    old = [one for one in found if now - one[0] >= older]
    rows = [
        _row(exchange, tunnels.get(exchange), waits, summaries, now)
        for _, _, exchange in heapq.nsmallest(limit, old)
        if exchange.client is not None
    ]
    return {"open": len(old), "requests": rows}


def _is_wanted(exchange: Exchange, service: str, backend: str) -> bool:
    if service and (exchange.service is None or exchange.service.name != service):
        return False
    if not backend:
        return True
    asked = exchange.backend and exchange.backend.backend
    return asked is not None and backend in (asked.url, asked.label, asked.name)


def _row(exchange: Exchange, tunnel: Tunnel | None, waits: dict[Any, str], summaries: Summaries, now: float) -> dict[str, Any]:
    row = {name: value for name, value in zip(FIELDS, summaries.of(exchange), strict=True) if name not in _LEFT_OUT}
    body = exchange.body
    if body is not None and exchange.head is not None:
        row["bytes_in"] = max(row["bytes_in"], exchange.head.size + body.octets)
    if tunnel is not None:
        row["bytes_in"] += tunnel.octets_in
        row["bytes_out"] += tunnel.octets_out
    phase = TUNNEL if tunnel is not None else _phase(exchange, waits)
    return {"age": now - exchange.started, "phase": phase, **row}


def _phase(exchange: Exchange, waits: dict[Any, str]) -> str:
    if exchange.status:
        return STREAMING
    body = exchange.body
    if body is not None and body.ahead:
        return RECEIVING
    waits_for = waits.get(exchange.client.worker, "")
    location = exchange.location
    if exchange.backend is None:
        return QUEUED if location is not None and location.limited and location.queue.waiting else FILTERS
    if waits_for == WAITING or (not waits_for and location is not None and location.hedge):
        return SENDING if body is not None and not body.done else WAITING
    return waits_for or QUEUED


def _waits(plane: DataPlane) -> dict[Any, str]:
    """By greenlet that waits for a backend: the phase of its request."""
    found: dict[Any, str] = {}
    for stream in list(plane.reactor.streams):
        if isinstance(stream, BackendRequest):
            found[stream.reader], found[stream.writer] = WAITING, SENDING
        elif isinstance(stream, Stream) and isinstance(stream.owner, Upstream):
            connects = stream.owner.phase == "connect"
            found[stream.reader] = CONNECTING if connects else WAITING
            found[stream.writer] = CONNECTING if connects else SENDING
    found.pop(None, None)
    return found
