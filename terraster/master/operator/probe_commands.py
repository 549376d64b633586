"""The command of operators that probes a backend now: outside of the schedule of its health checks, and without counting for them.

Answers are plain dicts for JSON: ``ok``, and ``problems`` where it is False. Master only; any greenlet.
"""

from __future__ import annotations

from typing import Any

import gevent

from terraster.config.snapshot import Backend
from terraster.master.backends.prober import Busy, Prober

from .account import Accounts, refusal
from .find import Unfound

__all__ = ["ProbeCommands"]

_MOST = 8  # endpoints that one command probes


class ProbeCommands:
    """The command of one master."""

    def __init__(self, accounts: Accounts, prober: Prober) -> None:
        self._accounts = accounts
        self._prober = prober

    def probe(self, service: str, path: str = "", url: str = "") -> dict[str, Any]:
        """Probe every endpoint of a backend. service, path, url: as for `OperatorCommands.backend`

        Answer: ``service location url type`` and ``probes``, each ``endpoint address ok reason seconds status answer`` (`Prober.ask`). A
        refusal because it is asked for too often has ``code``: "often".
        """
        try:
            found, endpoint = self._accounts.find(service, path, url)
        except Unfound as error:
            return refusal(str(error), error.candidates)
        backend = found[2]
        running = self._accounts.endpoints(found, endpoint)
        if backend.health.type == "none":
            return refusal(f"{backend.url} has no health check (`health_check: off`)")
        if len(running) > _MOST:
            return refusal(f"{backend.url} has {len(running)} addresses; name one: {backend.url}@ADDRESS")
        asked = [gevent.spawn(self._one, one) for one in running]
        gevent.joinall(asked)
        probes = [one.get() for one in asked]
        refused = [one for one in probes if isinstance(one, str)]
        if refused:
            return {**refusal(refused[0]), "code": "often"}
        return {
            "ok": True,
            "service": found[0].name,
            "location": found[1].place,
            "url": backend.url,
            "type": backend.health.type,
            "probes": probes,
        }

    def _one(self, backend: Backend) -> dict[str, Any] | str:
        """The outcome of one endpoint, or why there is none."""
        try:
            found = self._prober.ask(backend.id)
        except Busy as busy:
            return str(busy)
        address = None if backend.socket else backend.address or None
        return {"endpoint": backend.endpoint or None, "address": address, **found}
