"""The algorithm and the connections of locations, locations themselves, and changes that come into effect together."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..call import Answer, Call, Role
from ..deps import Deps
from ..models.changes import Batch, Changed, ConfigAnswer, ConfigBody, DryRunQuery, LocationBody, LocationChange, NamedLocation
from ..operation import Operation
from ..problem import Refused
from .changing import change, edited, etag

__all__ = ["operations"]


def operations(deps: Deps) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/api/config",
            id="getConfig",
            tag="config",
            summary="The algorithm of a location, and the connections that its backends may have",
            detail="The ETag is that of the location, for `If-Match` of all operations that change it or its backends.",
            handle=partial(_get, deps),
            role=Role.READER,
            query=NamedLocation,
            answer=ConfigAnswer,
            refuses=(404,),
            example={"query": {"service_name": "shop", "path": "/"}},
        ),
        Operation(
            method="PUT",
            path="/api/config",
            id="setConfig",
            tag="config",
            summary="Set the algorithm of a location, and the connections of each of its backends",
            detail="It is in effect in all workers when the answer comes. Keys that are left out stay.",
            handle=partial(_put, deps),
            role=Role.OPERATOR,
            body=ConfigBody,
            query=NamedLocation,
            answer=Changed,
            refuses=(404, 409, 503),
            if_match="required",
            example={"query": {"service_name": "shop", "path": "/", "dry_run": "true"}, "body": {"algorithm": "least-connections"}},
        ),
        Operation(
            method="PATCH",
            path="/api/config",
            id="changeConfig",
            tag="config",
            summary="Make several changes at once: all of them in one generation, or none",
            detail="`if_match` of a change is the ETag of its location; it is compared if it is there.",
            handle=partial(_batch, deps),
            role=Role.ADMIN,
            body=Batch,
            query=DryRunQuery,
            answer=Changed,
            refuses=(404, 409, 412, 503),
            example={
                "query": {"dry_run": "true"},
                "body": {
                    "changes": [
                        {"kind": "backend.add", "service_name": "shop", "url": "http://10.0.0.3:8080", "value": {"weight": 5}},
                        {"kind": "location.set", "service_name": "shop", "value": {"lb_policy": "least-connections"}},
                    ]
                },
            },
        ),
        Operation(
            method="POST",
            path="/api/locations",
            id="addLocation",
            tag="config",
            summary="Add a location to a service",
            detail="The body is as in `locations[]` of the configuration.",
            handle=partial(_location, deps, "location.add"),
            role=Role.ADMIN,
            body=LocationBody,
            query=LocationChange,
            answer=Changed,
            status=201,
            refuses=(404, 409, 503),
            example={
                "query": {"service_name": "shop", "dry_run": "true"},
                "body": {"path": "/api", "backends": [{"url": "http://10.0.0.3:8080"}]},
            },
        ),
        Operation(
            method="PUT",
            path="/api/locations",
            id="replaceLocation",
            tag="config",
            summary="Replace a location of a service",
            handle=partial(_location, deps, "location.replace"),
            role=Role.ADMIN,
            body=LocationBody,
            query=LocationChange,
            answer=Changed,
            refuses=(404, 409, 503),
            if_match="required",
            example={
                "query": {"service_name": "shop", "path": "/", "dry_run": "true"},
                "body": {"path": "/", "backends": [{"url": "http://10.0.0.3:8080"}]},
            },
        ),
        Operation(
            method="DELETE",
            path="/api/locations",
            id="removeLocation",
            tag="config",
            summary="Remove a location from a service",
            handle=partial(_location, deps, "location.remove"),
            role=Role.ADMIN,
            query=LocationChange,
            answer=Changed,
            refuses=(404, 409, 503),
            if_match="required",
            example={"query": {"service_name": "shop", "path": "/old", "dry_run": "true"}},
        ),
    )


def _get(deps: Deps, call: Call) -> Answer:
    place, tag = etag(deps, call.query.service_name, call.query.path)
    found = next(
        (
            one
            for service in deps.snapshot().services
            if service.name == call.query.service_name
            for one in service.locations
            if one.place == place
        ),
        None,
    )
    if found is None:
        raise Refused(404, f"service {call.query.service_name} has no location {place} any longer")
    connections = {one.max_connections for one in found.backends}
    value = {
        "service_name": call.query.service_name,
        "path": place,
        "algorithm": found.policy,
        "max_connections": "mixed" if len(connections) > 1 else next(iter(connections), 0),
    }
    return Answer(value, etag=tag)


def _put(deps: Deps, call: Call) -> Answer:
    body: ConfigBody = call.body
    given = {"lb_policy": body.algorithm, "max_connections": body.max_connections}
    value = {key: one for key, one in given.items() if one is not None}
    return edited(deps, call, [change("location.set", call, value=value, seconds=body.seconds)], body.reason)


def _batch(deps: Deps, call: Call) -> Answer:
    body: Batch = call.body
    changes: list[dict[str, Any]] = [
        {
            "kind": one.kind,
            "service": one.service_name,
            "path": one.path,
            "url": one.url,
            "value": one.value,
            "for": one.seconds,
            "if_match": one.if_match,
        }
        for one in body.changes
    ]
    return edited(deps, call, changes, body.reason)


def _location(deps: Deps, kind: str, call: Call) -> Answer:
    value = {} if call.body is None else call.body.model_dump()
    made = change(kind, call, value=value, seconds=call.query.seconds)
    return edited(deps, call, [made], call.query.reason, 201 if kind == "location.add" else 200)
