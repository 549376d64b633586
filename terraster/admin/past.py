"""The past as terrasterctl and the API read it: the timeline, the day of a backend, the minutes of locations."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..config.snapshot import Snapshot
from ..errors import TerrasterError
from .chronicle import KINDS, Chronicle
from .historian import Historian, backend_day, location_history
from .history_files import DAY
from .site import Handler, Refusal, Response, json_response

__all__ = ["Past", "routes"]

_MOST = 10_000
_SHOWN = 30  # changes of a state that "why" has


def routes(past: Past) -> dict[str, dict[str, Handler]]:
    """The routes of the control socket."""

    def events(query: dict[str, str]) -> Response:
        return json_response(past.events(query))

    return {"/events": {"GET": events}}


class Past:
    """`terraster.api.deps.Past` of one admin worker, and the answers to terrasterctl."""

    def __init__(self, historian: Historian, chronicle: Chronicle, running: Callable[[], Snapshot]) -> None:
        self._historian = historian
        self._chronicle = chronicle
        self._running = running

    def events(self, query: dict[str, str]) -> dict[str, Any]:
        """The answer to ``/events``. query: ``since until`` (seconds since 1970) ``kind limit``. Raises Refusal."""
        now = time.time()
        try:
            since, until = float(query.get("since") or now - DAY), float(query.get("until") or 0.0)
            limit = int(query.get("limit") or 100)
        except ValueError:
            raise Refusal(400, "`since` and `until` are seconds since 1970, `limit` is a whole number") from None
        kind = query.get("kind", "")
        if not 1 <= limit <= _MOST or (kind and kind not in KINDS):
            raise Refusal(400, f"`limit` is between 1 and {_MOST}; `kind` is one of {', '.join(KINDS)}")
        try:
            return {"ok": True, "now": now, "events": self.timeline(since, until, kind, limit)}
        except TerrasterError as error:
            return {"ok": False, "problems": [str(error)], "candidates": []}

    def day(self, name: str) -> dict[str, Any] | None:
        """The last day of a backend: ``attempts failures errors minutes[]``, and ``changes[]`` of its state. None: it cannot be read."""
        since = time.time() - DAY
        try:
            return {**backend_day(self._historian, name, since), "changes": self._chronicle.of(name, since)[:_SHOWN]}
        except (OSError, TerrasterError):
            return None  # the log has said it

    def timeline(self, since: float, until: float, kind: str, limit: int, service: str = "") -> list[dict[str, Any]]:
        """See `Chronicle.timeline`. kind: "": all. Raises TerrasterError."""
        try:
            return self._chronicle.timeline(since, until, frozenset((kind,)) if kind else frozenset(), limit, service)
        except OSError as error:
            raise TerrasterError(f"the history cannot be read: {error.strerror}") from error

    def minutes(self, service: str, path: str, since: float) -> list[dict[str, Any]]:
        """The minutes of the locations of a service: ``path`` and ``minutes[]``, see `location_history`. Raises TerrasterError."""
        places = {
            location.id: location.place
            for one in self._running().services
            if one.name == service
            for location in one.locations
            if not path or path in (location.place, location.place.partition("#")[0])
        }
        try:
            found = location_history(self._historian, list(places), since)
        except OSError as error:
            raise TerrasterError(f"the history cannot be read: {error.strerror}") from error
        return [{"path": places[name], "minutes": rows} for name, rows in found.items()]
