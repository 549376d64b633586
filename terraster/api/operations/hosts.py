"""All backends of one host, in all services at once: drained, taken into maintenance, enabled; and the work that is left at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..call import Answer, Call, Effect, Role
from ..deps import Deps
from ..models.changes import DryRunQuery
from ..models.hosts import Host, HostBackend, HostBody
from ..operation import Operation
from ..places import Places
from .changing import by, checked

__all__ = ["operations"]

_SPENT = ("down", "maintenance")
"""States in which no request is lost if the process ends: none comes."""


def operations(deps: Deps) -> tuple[Operation, ...]:
    hosts = Hosts(deps, Places(deps.snapshot))
    return (
        Operation(
            method="GET",
            path="/api/hosts/{host}",
            id="getHost",
            tag="hosts",
            summary="The backends of a host in all services, and the work that is left at them",
            detail="`host` is a name or an address, as in the URLs of backends, with any port; or the address of an endpoint of a name.",
            handle=hosts.get,
            role=Role.READER,
            answer=Host,
            refuses=(404,),
            example={"parts": {"host": "127.0.0.1"}},
        ),
        Operation(
            method="POST",
            path="/api/hosts/{host}/orders",
            id="orderHost",
            tag="hosts",
            summary="Drain all backends of a host, take them into maintenance, or enable them, in all services at once",
            detail="It holds for the backends that are configured now, each as if it were asked for alone, and for all of them or for none. "
            "Asked for again, it changes nothing.",
            handle=hosts.order,
            role=Role.OPERATOR,
            body=HostBody,
            query=DryRunQuery,
            answer=Host,
            refuses=(404, 503),
            example={
                "parts": {"host": "127.0.0.1"},
                "query": {"dry_run": "true"},
                "body": {"action": "drain", "reason": "a new disk"},
            },
        ),
    )


class Hosts:
    """The handlers."""

    def __init__(self, deps: Deps, places: Places) -> None:
        self._deps = deps
        self._places = places

    def get(self, call: Call) -> Answer:
        answer = self._asked(action="drain", host=call.parts["host"], dry_run=True)
        rows = [{**row, "changed": False} for row in answer["backends"]]
        return Answer(self._shown({**answer, "backends": rows, "changed": 0, "dry_run": False, "notes": []}))

    def order(self, call: Call) -> Answer:
        body: HostBody = call.body
        host, dry_run = call.parts["host"], call.query.dry_run
        answer = self._asked(action=body.action, host=host, seconds=body.seconds, reason=body.reason, by=by(call), dry_run=dry_run)
        changed = [row for row in answer["backends"] if row["changed"] and not dry_run]
        effect = Effect(
            target=f"host {host}",
            before={row["id"]: row["before"] for row in changed},
            after={row["id"]: {"state": row["state"], "order": row["order"]} for row in changed},
            reason=body.reason,
            generation=0 if dry_run else self._deps.snapshot().generation,
        )
        return Answer(self._shown(answer), effect=effect)

    def _asked(self, **arguments: Any) -> Mapping[str, Any]:
        answer = self._deps.ask("host", **arguments)
        return checked({"code": "failed", **answer})

    def _shown(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        found = self._readings({name for row in answer["backends"] for name in row["running"]})
        rows = [_row(row, [found[name] for name in row["running"] if name in found]) for row in answer["backends"]]
        return {
            **{name: answer[name] for name in ("host", "dry_run", "changed", "notes")},
            "safe": all(row["left"]["safe"] if row["left"] is not None else row["state"] in _SPENT for row in rows),
            "backends": rows,
        }

    def _readings(self, ids: set[str]) -> dict[str, Mapping[str, Any]]:
        """The rows of the status of backends, by id."""
        keys = [key for key in self._places.backends() if key[2] in ids]
        parts, found = self._places.parts(keys), {}
        for row, service in zip(self._deps.readings.services(parts, {}), parts, strict=True):
            for place, location in zip(row["locations"], service.locations, strict=True):
                for one, backend in zip(place["backends"], location.backends, strict=True):
                    found[backend.id] = one
        return found


def _row(row: Mapping[str, Any], running: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One configured backend; running: its endpoints"""
    known = {
        **row,
        "service_name": row["service"],
        "path": row["location"],
        **{name: sum(one[name] for one in running) for name in ("active", "tunnels", "open")},
        "requests_per_second": round(sum(_rate(one["recent_responses"]) for one in running), 2),
        "left": _left([one["left"] for one in running]),
    }
    return {name: known[name] for name in HostBackend.model_fields}


def _left(lefts: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """The work that is left at all endpoints of a backend together."""
    found = [one for one in lefts if one is not None]
    if not found or len(found) < len(lefts):
        return None
    worst = min(found, key=_is_safe)
    sums = {name: sum(one[name] for one in found) for name in ("requests", "tunnels", "connections", "attempts")}
    return {**worst, **sums}


def _is_safe(left: Mapping[str, Any]) -> bool:
    return bool(left["safe"])


def _rate(recent: Mapping[str, Any] | None) -> float:
    return recent["attempts"] / recent["seconds"] if recent and recent["seconds"] else 0.0
