"""Operators look at the clients of limits, and let one begin anew.

    limits ─▶ ask all workers which clients they remember ─▶ add up each one's debt, or requests under way, over all seats
    reset  ─▶ the client's number ─▶ each worker takes back what it has let the client spend; the master does so for workers that have ended

Values of headers, cookies and queries may be secrets. So such a client is named by its number alone; an operator who knows the value can name
it by that. Answers are plain dicts for JSON: ``ok``, and ``problems`` where it is False. Master only; any greenlet.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

from terraster.config.messages import suggestion
from terraster.logs.program import ProgramLog
from terraster.master.running import Running
from terraster.net.yielding import yield_to_loop
from terraster.state.buckets import Buckets
from terraster.state.cells import SeatBucket
from terraster.state.clients import Clients
from terraster.state.table import Table
from terraster.state.view import SeatView

from .account import refusal
from .commands import plain

__all__ = ["LimitCommands"]

_AT_ONCE = 1.0  # seconds that workers have to tell
_TURN = 500  # clients that are added up between two turns of the event loop
_NUMBER = re.compile("#[0-9a-f]{16}")
_SHOWN = ("client-ip", "path", "jwt")  # kinds of keys whose values may be shown


class LimitCommands:
    """The commands of one master. ask: `terraster.master.questions.Questions.ask`"""

    def __init__(self, running: Running, ask: Callable[[str, str, float], dict[int, Any]], table: Table, log: ProgramLog) -> None:
        self._running = running
        self._ask = ask
        self._table = table
        self._log = log

    def limits(self, service: str, path: str = "", name: str = "", most: int = 50) -> dict[str, Any]:
        """The clients of the limits of a service that are nearest to their limit.

        path: of a location, "": all. name: of a limit, "": all. most: clients of each limit

        Answer: ``limits``, each ``kind name key most clients``, and a client ``client id used share seconds``: requests that count against
        ``most``, their share of it, and until the client has none (None: not known).
        """
        places = self._places(service, path)
        if isinstance(places, dict):
            return places
        found: dict[tuple[str, str, str, int], dict[int, dict[str, Any]]] = {}
        now, view = time.monotonic_ns(), SeatView(self._table)
        buckets, clients = Buckets(view, _nothing), Clients(view)
        seen = 0
        for one in self._told("limits", service, places):
            if name and one["name"] != name:
                continue
            rows = found.setdefault((one["kind"], one["name"], one["key"], one["most"]), {})
            for said, number in one["known"]:
                if number in rows:
                    continue
                seen += 1
                if seen % _TURN == 0:
                    yield_to_loop()
                if one["kind"] == "rate_limit":
                    debt = buckets.debt(number, now)
                    used, seconds = debt / one["interval"], debt / 1e9
                else:
                    used, seconds = float(clients.active(number)), None
                if used > 0:
                    rows[number] = {
                        "client": _client(said, one["key"]),
                        "id": f"#{number:016x}",
                        "used": round(used, 3),
                        "share": round(used / one["most"], 4),
                        "seconds": None if seconds is None else round(seconds, 3),
                    }
        limits = [
            {"kind": kind, "name": label, "key": key, "most": bound, "clients": sorted(rows.values(), key=_by_use)[:most]}
            for (kind, label, key, bound), rows in sorted(found.items())
        ]
        return {"ok": True, "service": service, "path": path, "limits": limits}

    def reset_limit(
        self, service: str, name: str, client: str, path: str = "", reason: str = "", by: str = "", dry_run: bool = False
    ) -> dict[str, Any]:
        """Let a client of a rate limit begin anew. client: its address or value, or its ``id``

        Answer: ``name client id``, ``before`` and ``after``: the requests that counted against the limit, ``changed``.
        """
        places = self._places(service, path)
        if isinstance(places, dict):
            return places
        told = self._told("limits", service, places, client)
        here = [one for one in told if one["name"] == name and one["kind"] == "rate_limit"]
        if not here:
            names = sorted({one["name"] for one in told if one["kind"] == "rate_limit"})
            if any(one["name"] == name for one in told):
                return refusal(f"limit {name} counts requests under way, which cannot be reset: they end by themselves", names)
            return refusal(f"service {service} has no rate limit {name}{suggestion(name, names)}", names)
        view, now = SeatView(self._table), time.monotonic_ns()
        buckets = Buckets(view, _nothing)
        numbers = {int(client[1:], 16)} if _NUMBER.fullmatch(client) else {number for one in here for number in one["numbers"]}
        numbers.discard(0)  # which stands for no client
        interval = here[0]["interval"]
        before = {number: debt for number in numbers if (debt := buckets.debt(number, now))}
        if before and not dry_run:
            for number in before:
                self._told("reset_limit", service, places, number=number)
                self._forget_of_the_dead(number)
            self._log.info("limit %s of %s: reset for %s (by %s)", name, service, _said(before), plain(by) or "an operator")
        after = sum(buckets.debt(number, time.monotonic_ns()) for number in before) if not dry_run else sum(before.values())
        return {
            "ok": True,
            "name": name,
            "id": _said(before),
            "before": round(sum(before.values()) / interval, 3),
            "after": round(after / interval, 3),
            "changed": bool(before),
            "dry_run": dry_run,
        }

    def _places(self, service: str, path: str) -> list[str] | dict[str, Any]:
        """The ids of locations, or a refusal."""
        services = {one.name: one for one in self._running.snapshot.services}
        if service not in services:
            return refusal(f"there is no service {service}{suggestion(service, sorted(services))}", sorted(services))
        locations = services[service].locations
        ids = [one.id for one in locations if path in ("", one.path, one.place)]
        return ids or refusal(f"service {service} has no location {path}", [one.place for one in locations])

    def _told(self, what: str, service: str, places: list[str], said: str = "", number: int = 0) -> list[Any]:
        """The answers of all workers, one list."""
        about = json.dumps({"service": service, "locations": places, "said": said, "number": number})
        answers = self._ask(what, about, _AT_ONCE).values()
        return [one for answer in answers if isinstance(answer, list) for one in answer]

    def _forget_of_the_dead(self, number: int) -> None:
        """Workers that have ended cannot take back what they let the client spend. No worker gets a seat meanwhile: this does not yield."""
        q, cells = self._table.q, SeatBucket
        at = (number >> 32 & self._table.bucket_sets - 1) * cells.CELLS
        _, left = self._table.counting_buckets(time.monotonic_ns())
        for base, _ in left:
            keys = q[base + at : base + at + cells.WAYS].tolist()
            if number in keys:
                q[base + at + keys.index(number) + cells.SPENT] = 0


def _client(said: str | bytes, key: str) -> str:
    """A client as it is shown, "" if its value may be a secret."""
    if isinstance(said, str):
        return plain(said)
    return plain(said.decode(errors="replace")) if key in _SHOWN else ""


def _said(numbers: dict[int, int]) -> str:
    return ", ".join(f"#{number:016x}" for number in numbers)


def _by_use(row: dict[str, Any]) -> tuple[float, str]:
    return -row["used"], row["id"]


def _nothing() -> None:
    """Nobody is forgotten: nothing is written."""
