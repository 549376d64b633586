"""`terrasterctl status --json`: one document that says what runs, and first of all what does not.

Pure: readings of the shared table, the configuration and the master's own account in, plain JSON values out. Times are seconds
since 1970, ages and durations seconds, null = unknown. docs/operations.md describes the document; keys are only ever added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from ..config.snapshot import Snapshot
from .readings import BackendReading, LocationReading, SeatReading

__all__ = ["document"]

HUNG = 10.0  # seconds without a sign of life that are worth a line


def document(
    snapshot: Snapshot,
    backends: Iterable[BackendReading],
    locations: Iterable[LocationReading],
    seats: Iterable[SeatReading],
    requests: Mapping[int, int],
    master: Mapping[str, Any],
    now: float,
) -> dict[str, Any]:
    """The whole document.

    requests: seat → requests it has answered; master: the answer to the question "status" (`terraster.master.desk`); now:
    time.time()
    """
    probes = master.get("backends", {})
    by_location = {key: list(group) for key, group in groupby(backends, key=lambda one: one.location.id)}
    rows = {one.location.id: one for one in locations}
    services = [
        {
            "name": service.name,
            "hosts": list(service.hosts),
            "listeners": list(service.listeners),
            "locations": [
                _location(location, rows.get(location.id), by_location.get(location.id, []), probes)
                for location in service.locations
            ],
        }
        for service in snapshot.services
    ]
    workers = _workers(seats, requests, master)
    return {
        "problems": _problems(services, workers, master),
        "version": master.get("version"),
        "pid": master.get("pid"),
        "started": master.get("started"),
        "now": now,
        "generation": master.get("generation"),
        "listeners": master.get("listeners", []),
        "wanted_workers": master.get("wanted_workers"),
        "restarts": master.get("restarts"),
        "reloads": master.get("reloads"),
        "reload_failures": master.get("reload_failures"),
        "last_reload": master.get("last_reload"),
        "workers": workers,
        "services": services,
        "warnings": list(snapshot.warnings),
    }


def _location(
    location: Any, row: LocationReading | None, backends: list[BackendReading], probes: Mapping[str, Any]
) -> dict[str, Any]:
    requests = row.requests if row else 0
    classes: dict[str, int] = {}
    for label, count in row.codes() if row else ():
        name = f"{label[0]}xx" if label[0].isdigit() else label
        classes[name] = classes.get(name, 0) + count
    return {
        "path": location.path,
        "policy": location.policy if location.backends else None,
        "redirect": location.redirect or None,
        "requests": requests,
        "responses": classes,
        "bytes_in": row.bytes_in if row else 0,
        "bytes_out": row.bytes_out if row else 0,
        "mean_duration": row.duration_sum / requests if row and requests else None,
        "backends": [_backend(one, probes.get(one.backend.id, {})) for one in backends],
    }


def _backend(one: BackendReading, probe: Mapping[str, Any]) -> dict[str, Any]:
    seconds = probe.get("seconds", -1.0)
    return {
        "url": one.backend.url,
        "up": one.up,
        "since": one.since or None,
        "reason": probe.get("reason", ""),
        "weight": one.weight,
        "max_connections": one.backend.max_connections,
        "active": one.active,
        "idle": one.idle,
        "requests": one.requests,
        "failures": one.failures,
        "latency": one.latency if one.latency >= 0 else None,
        "probes": one.probes,
        "probe_failures": one.probe_failures,
        "probe_seconds": seconds if seconds >= 0 else None,
    }


def _workers(seats: Iterable[SeatReading], requests: Mapping[int, int], master: Mapping[str, Any]) -> list[dict[str, Any]]:
    known = {worker["pid"]: worker for worker in master.get("workers", [])}
    return [
        {
            "seat": seat.seat,
            "role": seat.role,
            "pid": seat.pid,
            "state": known.get(seat.pid, {}).get("state", "draining" if seat.draining else "serving"),
            "generation": seat.generation,
            "oldest_generation": seat.oldest,
            "age": known.get(seat.pid, {}).get("age"),
            "silent": seat.heartbeat,
            "connections": seat.connections,
            "accepted": seat.accepted,
            "requests": requests.get(seat.seat, 0),
            "draining": seat.draining,
        }
        for seat in seats
    ]


def _problems(services: list[dict[str, Any]], workers: list[dict[str, Any]], master: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is wrong, the worst first: no workers, locations that cannot serve, backends that are down, a reload that failed."""
    found = []
    proxies = [worker for worker in workers if worker["role"] == "proxy" and not worker["draining"]]
    wanted = master.get("wanted_workers") or 0
    if not proxies:
        found.append(_problem("no-workers", "no proxy worker accepts connections"))
    elif len(proxies) < wanted:
        found.append(_problem("few-workers", f"{len(proxies)} of {wanted} proxy workers accept connections"))
    down = []
    for service in services:
        for location in service["locations"]:
            backends = location["backends"]
            dead = [backend for backend in backends if not backend["up"]]
            where = {"service": service["name"], "location": location["path"]}
            if backends and len(dead) == len(backends):
                found.append(_problem("no-backends", "no backend is up: every request is answered 503", **where))
            for backend in dead:
                down.append(_problem("backend-down", backend["reason"], **where, backend=backend["url"], since=backend["since"]))
    found += down
    last = master.get("last_reload")
    if last and not last["ok"]:
        found.append(_problem("reload-failed", "; ".join(last["problems"]), since=last["when"]))
    for worker in workers:
        name = f"{worker['role']} worker {worker['pid']}"
        if worker["silent"] > HUNG:
            found.append(_problem("worker-silent", f"{name} gave no sign of life for {worker['silent']:.0f} s"))
        if not worker["draining"] and worker["generation"] != master.get("generation") and worker["state"] == "serving":
            found.append(
                _problem("worker-behind", f"{name} runs generation {worker['generation']}, not {master.get('generation')}")
            )
    return found


def _problem(kind: str, text: str, **where: Any) -> dict[str, Any]:
    return {"kind": kind, "text": text, "service": None, "location": None, "backend": None, "since": None, **where}
