"""Health checks on demand."""

from __future__ import annotations

from functools import partial

from ..call import Answer, Call, Effect, Role
from ..deps import Deps
from ..models.probes import Probed, ProbeQuery
from ..operation import Operation
from .changing import checked

__all__ = ["operations"]


def operations(deps: Deps) -> tuple[Operation, ...]:
    return (
        Operation(
            method="POST",
            path="/api/backends/probe",
            id="probeBackend",
            tag="health",
            summary="Make the health check of a backend now, and tell what it answered",
            detail="It is made by the process that makes all health checks, beside their schedule. It counts for nothing, so the state of the "
            "backend does not change by it. A backend is probed once a second at most.",
            handle=partial(_probe, deps),
            role=Role.OPERATOR,
            query=ProbeQuery,
            answer=Probed,
            refuses=(404, 429),
            example={"query": {"service_name": "shop", "path": "/", "url": "http://127.0.0.1:9001"}},
        ),
    )


def _probe(deps: Deps, call: Call) -> Answer:
    query: ProbeQuery = call.query
    answer = deps.ask("probe", service=query.service_name, path=query.path, url=query.url)
    if not answer["ok"] and "code" not in answer:
        answer = {**answer, "code": "unknown" if answer["candidates"] else "invalid"}
    checked(answer)
    value = {
        "service_name": answer["service"],
        "path": answer["location"],
        **{name: answer[name] for name in ("url", "type", "probes")},
    }
    target = f"{answer['service']}{answer['location']} {answer['url']}"
    after = {"passed": sum(one["ok"] for one in answer["probes"]), "of": len(answer["probes"])}
    return Answer(value, effect=Effect(target=target, after=after))
