"""Health, counts, limits, probes, certificates and plugins: lists in pages; and the status, and why a backend is in its state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_jsonable_python

from ..call import Answer, Call, Role
from ..deps import Deps
from ..models.base import Query
from ..models.reading import (
    CertificatePage,
    CertificateQuery,
    CertificateRow,
    Generation,
    Generations,
    HealthPage,
    HealthRow,
    LimitPage,
    LimitRow,
    Listed,
    LocationQuery,
    PluginPage,
    PluginRow,
    ProbePage,
    ProbeRow,
    StatsPage,
    StatsRow,
    Status,
    Why,
    WhyQuery,
)
from ..operation import Operation
from ..pages import Item, Key, page
from ..places import Places
from ..problem import Mistake, Refused

__all__ = ["operations", "overrides"]

_UNHEALTHY = 100
_KINDS = (("order", "order"), ("weight", "weight_override"), ("forced", "forced"))
_LIMITS = ("rate_limit", "limit_connections")


def operations(deps: Deps) -> tuple[Operation, ...]:
    reader = Reader(deps, Places(deps.snapshot))

    def get(path: str, name: str, tag: str, summary: str, handle: Any, answer: Any, query: Any = Query, **more: Any) -> Operation:
        return Operation(
            method="GET",
            path=path,
            id=name,
            tag=tag,
            summary=summary,
            handle=handle,
            role=Role.READER,
            query=query,
            answer=answer,
            **more,
        )

    of_shop = {"query": {"service_name": "shop"}}
    return (
        get(
            "/api/health",
            "listHealth",
            "health",
            "How many backends of each location are up, and why others are not",
            reader.health,
            HealthPage,
            LocationQuery,
            refuses=(404,),
            example=of_shop,
        ),
        get(
            "/api/probes",
            "listProbes",
            "health",
            "The last health check of each backend",
            reader.probes,
            ProbePage,
            LocationQuery,
            refuses=(404,),
            example=of_shop,
        ),
        get(
            "/api/stats",
            "listStats",
            "stats",
            "Counts of each location since the start",
            reader.stats,
            StatsPage,
            LocationQuery,
            refuses=(404,),
            example=of_shop,
        ),
        get(
            "/api/limits",
            "listLimits",
            "limits",
            "Limits of rates and connections, with their counts",
            reader.limits,
            LimitPage,
            LocationQuery,
            refuses=(404,),
        ),
        get("/api/status", "getStatus", "status", "The state of everything that runs, problems first", reader.status, Status),
        get(
            "/api/why",
            "explainBackend",
            "status",
            "Why a backend is in its state",
            reader.why,
            Why,
            WhyQuery,
            refuses=(404,),
            example={"query": {"url": "http://127.0.0.1:9001", "service_name": "shop"}},
        ),
        get(
            "/api/certificates",
            "listCertificates",
            "certificates",
            "The certificates in use",
            reader.certificates,
            CertificatePage,
            CertificateQuery,
            example={"query": {"state": "expiring"}},
        ),
        get("/api/plugins", "listPlugins", "plugins", "The plugins in use", reader.plugins, PluginPage, Listed),
        get(
            "/api/generations",
            "listGenerations",
            "generations",
            "The generations of the configuration that are kept, and the last reload",
            reader.generations,
            Generations,
        ),
    )


class Reader:
    """The handlers."""

    def __init__(self, deps: Deps, places: Places) -> None:
        self._deps = deps
        self._places = places

    def health(self, call: Call) -> Answer:
        return self._locations(call, HealthRow, _health)

    def stats(self, call: Call) -> Answer:
        return self._locations(call, StatsRow, _stats)

    def limits(self, call: Call) -> Answer:
        """One key for each entry: the location's, then kind and name."""
        keys = []
        for service in self._places.parts(self._places.locations(call.query.service_name, call.query.path)):
            for location in service.locations:
                keys += [(service.name, location.id, kind, _entry(one)) for kind, one in location.filters if kind in _LIMITS]
        return page(sorted(set(keys)), call.query, LimitRow, self._limit_items)

    def probes(self, call: Call) -> Answer:
        keys = self._places.backends(call.query.service_name, call.query.path)
        known = self._deps.ask("status").get("prober", {})
        return page(keys, call.query, ProbeRow, lambda part: self._probe_items(part, known))

    def status(self, call: Call) -> Answer:
        return Answer(self._deps.readings.status())

    def why(self, call: Call) -> Answer:
        told = self._deps.ask("why", url=call.query.url, service=call.query.service_name, path=call.query.path)
        if not told["ok"]:
            errors = [Mistake(pointer="/url", detail=f"perhaps {one}", where="query") for one in told.get("candidates", ())[:20]]
            raise Refused(404, "; ".join(told["problems"]), errors)
        return Answer(told)

    def certificates(self, call: Call) -> Answer:
        rows: dict[Key, Item] = {}
        for row in self._deps.readings.certificates():
            rows[row["name"], row["service"], row["fingerprint"], row["file"]] = row
        state = call.query.state
        return page(
            sorted(rows),
            call.query,
            CertificateRow,
            lambda keys: [{name: rows[key][name] for name in CertificateRow.model_fields} for key in keys],
            lambda item: not state or item["state"] == state,
        )

    def plugins(self, call: Call) -> Answer:
        rows: dict[Key, Item] = {
            (row["name"],): {name: row[name] for name in PluginRow.model_fields} for row in self._deps.readings.plugins()
        }
        return page(sorted(rows), call.query, PluginRow, lambda keys: [rows[key] for key in keys])

    def generations(self, call: Call) -> Answer:
        rows = self._deps.ask("generations")["generations"]
        items = [{name: row[name] for name in Generation.model_fields} for row in rows]
        return Answer({"items": items, "last_reload": self._deps.ask("status")["last_reload"]})

    def _locations(self, call: Call, row: Any, make: Any) -> Answer:
        master = self._deps.ask("status")

        def items(keys: Sequence[Key]) -> list[Item]:
            parts, found = self._places.parts(keys), {}
            for told, service in zip(self._deps.readings.services(parts, master), parts, strict=True):
                for one, location in zip(told["locations"], service.locations, strict=True):
                    found[service.name, location.id] = make(service.name, one)
            return [found[key[0], key[1]] for key in keys]

        return page(self._places.locations(call.query.service_name, call.query.path), call.query, row, items)

    def _limit_items(self, keys: Sequence[Key]) -> list[Item]:
        parts = self._places.parts([key[:2] for key in keys])
        found: dict[Key, Item] = {}
        for told, service in zip(self._deps.readings.services(parts, {}), parts, strict=True):
            for one, location in zip(told["locations"], service.locations, strict=True):
                for kind, settings in location.filters:
                    if kind in _LIMITS:
                        found[service.name, location.id, kind, _entry(settings)] = {
                            "service_name": service.name,
                            "path": one["path"],
                            "kind": kind,
                            "name": _entry(settings),
                            "settings": to_jsonable_python(settings.model_dump(), fallback=str),
                            "counts": one["filters"].get(kind, {}),
                        }
        return [found[key] for key in keys]

    def _probe_items(self, keys: Sequence[Key], known: Mapping[str, Any]) -> list[Item]:
        found: dict[Key, Item] = {}
        for service in self._places.parts(keys):
            for location in service.locations:
                for backend in location.backends:
                    probe = known.get(backend.id, {})
                    seconds = probe.get("seconds", -1.0)
                    found[service.name, location.id, backend.id] = {
                        "service_name": service.name,
                        "path": location.place,
                        "url": backend.url,
                        "type": backend.health.type,
                        "up": probe.get("up"),
                        "since": probe.get("since") or None,
                        "reason": probe.get("reason", ""),
                        "seconds": seconds if seconds >= 0 else None,
                        "probes": probe.get("probes", 0),
                        "probe_failures": probe.get("probe_failures", 0),
                    }
        return [found[key] for key in keys]


def overrides(orders: Mapping[str, Any], places: Places, only: str = "") -> dict[Key, Item]:
    """The rows of what operators changed, by key. orders: `terraster.master.operator.account.overridden`. only: of this service"""
    found: dict[Key, Item] = {}
    for service, order in orders.get("services", {}).items():
        found[service, "", "", "order"] = _override("order", order, service, None, None, None, None, False)
    changed = orders.get("backends", {})
    keys = [key for key in places.backends() if key[2] in changed] if changed else []
    for part in places.parts(keys):
        for location in part.locations:
            for backend in location.backends:
                above = changed[backend.id]
                for kind, name in _KINDS:
                    if above.get(name) is not None:
                        found[part.name, location.id, backend.id, kind] = _override(
                            kind,
                            above[name],
                            part.name,
                            location.place,
                            backend.url,
                            backend.endpoint or None,
                            above.get("configured_weight"),
                            False,
                        )
    for gone in orders.get("orphans", ()):
        for kind, name in _KINDS:
            if gone.get(name) is not None:
                found[gone["service"], gone["location"], gone["id"], kind] = _override(
                    kind, gone[name], gone["service"], gone["location"], gone["backend"], None, None, True
                )
    return {key: row for key, row in found.items() if not only or key[0] == only}


def _override(
    kind: str,
    action: Mapping[str, Any],
    service: str,
    path: str | None,
    url: str | None,
    endpoint: str | None,
    configured: int | None,
    orphan: bool,
) -> Item:
    return {
        "kind": kind,
        "service_name": service,
        "path": path,
        "url": url,
        "endpoint": endpoint,
        "what": action["what"],
        "when": action["when"],
        "by": action["by"],
        "reason": action["reason"],
        "until": action["until"],
        "weight": action["weight"],
        "configured_weight": configured,
        "orphan": orphan,
    }


def _entry(settings: Any) -> str:
    return getattr(settings, "entry", "") or ""


def _health(service: str, row: Mapping[str, Any]) -> Item:
    backends = row["backends"]
    up = sum(1 for one in backends if one["up"])
    others = [one for one in backends if one["state"] != "up"][:_UNHEALTHY]
    return {
        "service_name": service,
        "path": row["path"],
        "health": "none" if not backends else "healthy" if not others else "degraded" if up else "down",
        "backends": len(backends),
        "backends_up": up,
        "panic": row["panic"],
        "unhealthy": [{name: one[name] for name in ("url", "state", "since", "reason")} for one in others],
    }


def _stats(service: str, row: Mapping[str, Any]) -> Item:
    sums = {name: sum(one[name] for one in row["backends"]) for name in ("active", "open", "failures")}
    known = {**row, **sums, "service_name": service}
    return {name: known[name] for name in StatsRow.model_fields}
