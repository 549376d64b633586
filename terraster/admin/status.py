"""The document of `terrasterctl status --json`: the state of everything that runs, problems first.

Pure: readings of the shared table, the configuration and the master's answer go in, plain JSON values come out. Times are seconds since
1970. Ages and durations are seconds. null means unknown. docs/operations.md describes the document. A later version may add keys but
never removes one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from ..config.snapshot import Service, Snapshot
from ..filters.contract import Counted
from ..policy.leaving import Left, left
from ..state.cells import BUCKETS, BackendCells, Seat, SeatLocation
from . import authorities, certificates
from .problems import (
    of_audit,
    of_authorities,
    of_certificates,
    of_documents,
    of_history,
    of_level,
    of_logs,
    of_mail,
    of_objectives,
    of_orders,
    of_plugins,
    of_staples,
    of_users,
    problems,
)
from .processes import ProcessReading
from .readings import BackendReading, LocationReading
from .recent import RecentCounts
from .seat_readings import Losses, LostLines, SeatReading
from .upgrade import under_way

__all__ = ["document", "service_rows"]

NOTHING = RecentCounts(0.0, {})

NONE_LOST = LostLines(0, 0, 0.0, 0)

_FULL = {Seat.CONNECTIONS_LIMIT: "connections-limit", Seat.NO_DESCRIPTORS: "descriptors"}


def document(
    snapshot: Snapshot,
    shown: Sequence[Service],
    backends: Iterable[BackendReading],
    locations: Iterable[LocationReading],
    unrouted: LocationReading,
    seats: Iterable[SeatReading],
    processes: Mapping[int, ProcessReading | None],
    losses: Losses,
    requests: Mapping[int, int],
    master: Mapping[str, Any],
    now: float,
    counted: Sequence[Counted] = (),
    recent: RecentCounts = NOTHING,
    lost: LostLines = NONE_LOST,
    mail: Mapping[str, Any] | None = None,
    orders: Sequence[Mapping[str, Any]] = (),
    unfetched: Mapping[str, str] | None = None,
    documents: Mapping[str, str] | None = None,
    plugins: Sequence[Mapping[str, Any]] = (),
    audit: Mapping[str, Any] | None = None,
    objectives: tuple[Sequence[Mapping[str, Any]], int] = ((), 0),
    users: Mapping[str, Any] | None = None,
    history: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole document.

    shown:    the services whose rows it has: all, or where only problems are asked for, those that may have some
    backends, locations: of these services
    unrouted: the requests that no location took
    processes: the kernel's figures, by pid
    losses:   what could not be done for want of room
    requests: seat → number of requests that its process has answered
    master:   the master's answer to the question "status" (`terraster.master.control`)
    now:      time.time()
    counted:  what filters count
    recent:   what backends answered lately
    lost:     log lines that were lost
    orders:   those of certificates, of `terraster.admin.acme`
    unfetched: why OCSP responses could not be fetched, of `terraster.admin.ocsp`
    documents: the same for documents of filters, of `terraster.admin.documents`
    plugins:  of `terraster.admin.plugins`
    objectives: the rows of `terraster.admin.slo_rows`, and how many objectives are not counted
    audit:    ``text since`` of rows of the audit log that wait, None: none do
    users:    the same of the users' database
    history:  the same of minutes of the history that are lost
    mail:     ``text since`` of mails that cannot be sent, None: all were sent
    """
    overrides = master.get("orders", {})
    rows = {one.location.id: one for one in locations}
    services = service_rows(shown, backends, rows, master, counted, recent)
    of_tls = certificates.rows(snapshot, master.get("certificates", ()), now, master.get("staples", ()), unfetched or {})
    of_clients = authorities.rows(snapshot, master.get("authorities", ()), now)
    workers = _workers(seats, requests, master)
    queued = sum(row.queued for row in rows.values())
    saturation: dict[str, Any] = {
        "descriptors": _descriptors(workers, processes, master),
        "accept_errors": losses.accept_errors,
        "idle_clients_ended": losses.clients_closed,
        "log_lines_lost": lost.access + lost.program,
        "queued": queued,
    }
    return {
        "ok": True,
        "problems": problems(services, workers, saturation, master)
        + of_objectives(*objectives)
        + of_certificates(of_tls, snapshot, master.get("certificates", ()), now)
        + of_staples(of_tls)
        + of_orders(orders)
        + of_audit(audit)
        + of_users(users)
        + of_history(history)
        + of_mail(mail)
        + of_documents(documents or {})
        + of_plugins(plugins)
        + of_authorities(of_clients, now)
        + of_logs(lost, now)
        + of_level(overrides.get("log_level")),
        "version": master.get("version"),
        "rooms": master.get("rooms"),
        "pid": master.get("pid"),
        "started": master.get("started"),
        "now": now,
        "generation": master.get("generation"),
        "duration_bounds": BUCKETS,
        "upgrade": under_way(master.get("upgrade"), workers),
        "listeners": master.get("listeners", []),
        "wanted_workers": master.get("wanted_workers"),
        "restarts": master.get("restarts"),
        "reloads": master.get("reloads"),
        "reload_failures": master.get("reload_failures"),
        "last_reload": master.get("last_reload"),
        "workers": workers,
        "saturation": saturation,
        "services": services,
        "unrouted": _unrouted(unrouted),
        "lost_lines": {
            "access": lost.access,
            "program": lost.program,
            "last": lost.last or None,
            "reason": lost.why if lost.last else "",
        },
        "log_level": {"level": snapshot.log_level, "order": overrides.get("log_level")},
        "orphans": overrides.get("orphans", []),
        "edits": master.get("edits") or [],
        "names": {
            name: {**known, **{key: known[key] or None for key in ("since", "asked", "failing_since") if key in known}}
            for name, known in master.get("names", {}).items()
        },
        "certificates": of_tls,
        "certificate_orders": [_order(row) for row in orders],
        "plugins": list(plugins),
        "warnings": list(snapshot.warnings),
    }


def service_rows(
    services: Sequence[Service],
    backends: Iterable[BackendReading],
    locations: Mapping[str, LocationReading],
    master: Mapping[str, Any],
    counted: Sequence[Counted],
    recent: RecentCounts = NOTHING,
) -> list[dict[str, Any]]:
    """The document's `services`. services: those that it has; locations: by id; the rest as `document` has it"""
    overrides = master.get("orders", {})
    backends = list(backends)
    known = {
        "probes": master.get("prober", {}),
        "states": master.get("states", {}),
        "failing": master.get("failing", {}),
        "shown": master.get("shown_certificates", {}),
        "overrides": overrides.get("backends", {}),
        "left": {one.backend.id: found._asdict() for one in backends if (found := _left(one, recent)) is not None},
        "recent": {one.backend.id: _recent(recent, one.backend.slot) for one in backends if one.backend.slot in recent.by_slot},
    }
    by_location = {key: list(group) for key, group in groupby(backends, key=lambda one: one.location.id)}
    splits = [location.split for service in services for location in service.locations if location.split is not None]
    arms = {arm.location: {"weight": arm.weight, "fallback": split.fallback} for split in splits for arm in split.arms}
    return [
        {
            "name": service.name,
            "hosts": list(service.hosts),
            "listeners": list(service.listeners),
            "maintenance": overrides.get("services", {}).get(service.name),
            "locations": [
                _location(
                    location, locations.get(location.id), by_location.get(location.id, []), known, counted, arms.get(location.id)
                )
                for location in service.locations
            ],
        }
        for service in services
    ]


def _order(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "service": row["service"],
        "names": row["names"],
        "authority": row["authority"],
        "challenge": row["challenge"],
        "state": row["state"],
        "failures": row["failures"],
        "last_error": row["why"],
        "next": row["next"] if row["next"] is not None and row["next"] < math.inf else None,
    }


def _location(
    location: Any,
    row: LocationReading | None,
    backends: list[BackendReading],
    known: Mapping[str, Any],
    counted: Sequence[Counted],
    arm: dict[str, Any] | None,
) -> dict[str, Any]:
    requests = row.requests if row else 0
    filters: dict[str, dict[str, float]] = {} if location.arm else {name: {} for name, _ in location.filters}
    for one in counted:
        count = row.cells[one.cell] if row else 0
        if count or one.kind in filters:
            filters.setdefault(one.kind, {})[one.counter.name] = one.counter.shown(count)
    return {
        "path": location.place,
        "arm": arm,
        "split": None if location.split is None else {arm.name: arm.weight for arm in location.split.arms},
        "policy": location.policy if location.backends else None,
        "redirect": location.redirect or None,
        "requests": requests,
        "responses": _classes(row.codes()) if row else {},
        "bytes_in": row.bytes_in if row else 0,
        "bytes_out": row.bytes_out if row else 0,
        "mean_duration": row.duration_sum / requests if row and requests else None,
        "durations": row.buckets if row and requests else None,
        "panic": row.panic if row else False,
        "queue": location.queue.size if backends else None,
        "queued": row.queued if row else 0,
        "queue_refused": row.cells[SeatLocation.QUEUE_REFUSED] if row else 0,
        "queue_timeouts": row.cells[SeatLocation.QUEUE_TIMEOUTS] if row else 0,
        "retries": row.cells[SeatLocation.RETRIES] if row else 0,
        "hedges": row.cells[SeatLocation.HEDGES] if row else 0,
        "retry_budget_refusals": row.cells[SeatLocation.BUDGET_REFUSALS] if row else 0,
        "slow_clients": row.cells[SeatLocation.SLOW_CLIENTS] if row else 0,
        "filters": filters,
        "backends": [_backend(one, {name: found.get(one.backend.id, {}) for name, found in known.items()}) for one in backends],
    }


def _unrouted(row: LocationReading) -> dict[str, Any]:
    return {
        "requests": row.requests,
        "responses": _classes(row.codes()),
        "codes": dict(row.codes()),
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
    }


def _classes(codes: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Counts by status as counts by class, `2xx` and so on."""
    classes: dict[str, int] = {}
    for label, count in codes:
        name = f"{label[0]}xx" if label[0].isdigit() else label
        classes[name] = classes.get(name, 0) + count
    return classes


def _backend(one: BackendReading, known: Mapping[str, Any]) -> dict[str, Any]:
    probe, evaluation, failing, above = known["probes"], known["states"], known["failing"], known["overrides"]
    order = above.get("order")
    ordered = order is not None and one.state in ("draining", "maintenance")
    return {
        "url": one.backend.url,
        "name": one.backend.name or None,
        "endpoint": one.backend.endpoint or None,
        "address": None if one.backend.socket else one.backend.address or None,
        "up": one.up,
        "state": one.state,
        "admit": one.admit,
        "since": order["when"] if ordered else one.since or None,
        "reason": evaluation.get("why") or probe.get("reason", ""),
        "by": order["by"] if ordered else evaluation.get("by", ""),
        "until": (order["until"] if ordered else evaluation.get("until")) or None,
        "order": order,
        "order_after": above.get("order_after", []),
        "weight": one.weight,
        "configured_weight": above.get("configured_weight", one.backend.weight),
        "weight_override": above.get("weight_override"),
        "weight_after": above.get("weight_after", []),
        "forced": above.get("forced"),
        "forced_after": above.get("forced_after", []),
        "priority": one.backend.priority,
        "max_connections": one.backend.max_connections,
        "active": one.active,
        "open": one.open,
        "tunnels": one.tunnels,
        "left": known["left"] or None,
        "idle": one.idle,
        "keepalive": _measured(one.keepalive),
        "share": _measured(one.share),
        "requests": one.requests,
        "failures": one.failures,
        "connect_errors": one.connect_errors,
        "bad_statuses": one.bad_statuses,
        "responses": {name: count for name, count in one.classes() if count},
        "retries": one.retries,
        "recent_responses": known["recent"] or None,
        "recent_attempts": failing.get("attempts", 0),
        "recent_failures": failing.get("failures", 0),
        "recent_seconds": failing.get("seconds"),
        "recent_failure": failing.get("text", ""),
        "recent_failure_at": failing.get("when"),
        "shown_certificate": known["shown"].get("words", ""),
        "not_ejected": failing.get("not_ejected", ""),
        "circuit": BackendCells.CIRCUITS[one.circuit],
        "circuit_openings": one.openings,
        "ejections": one.ejections,
        "latency": _measured(one.latency),
        "recent_latency": _measured(one.recent),
        "probes": one.probes,
        "probe_failures": one.probe_failures,
        "probe_seconds": _measured(probe.get("seconds", -1.0)),
    }


def _recent(recent: RecentCounts, slot: int) -> dict[str, Any]:
    attempts, errors = recent.by_slot[slot]
    return {"seconds": recent.seconds, "attempts": attempts, "5xx": errors}


def _left(one: BackendReading, recent: RecentCounts) -> Left | None:
    attempts = recent.by_slot[one.backend.slot].attempts if one.backend.slot in recent.by_slot else 0
    sticky = one.location.policy == "sticky-session"
    return left(one.state, one.active, one.tunnels, one.open, attempts, recent.seconds, sticky)


def _measured(value: float) -> float | None:
    return value if value >= 0 else None


def _workers(seats: Iterable[SeatReading], requests: Mapping[int, int], master: Mapping[str, Any]) -> list[dict[str, Any]]:
    known = {worker["pid"]: worker for worker in master.get("workers", [])}
    return [
        {
            "seat": seat.seat,
            "role": seat.role,
            "pid": seat.pid,
            "master": seat.master or master.get("pid"),
            "state": known.get(seat.pid, {}).get("state", "draining" if seat.draining else "serving"),
            "generation": seat.generation,
            "oldest_generation": seat.oldest,
            "old_generations": [{"generation": generation, "connections": count} for generation, count in seat.old],
            "age": known.get(seat.pid, {}).get("age"),
            "silent": seat.heartbeat,
            "lag": seat.lag if seat.role == "proxy" else None,
            "responding": seat.responds,
            "connections": seat.connections,
            "accepted": seat.accepted,
            "requests": requests.get(seat.seat, 0),
            "draining": seat.draining,
            "accept_errors": seat.accept_errors,
            "idle_clients_ended": seat.clients_closed,
            "short": _measured(seat.short),
            "full": seat.full,
            "full_why": _FULL.get(seat.full_why) if seat.full else None,
        }
        for seat in seats
    ]


def _descriptors(
    workers: Sequence[Mapping[str, Any]], processes: Mapping[int, ProcessReading | None], master: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The open descriptors and the limit of each process whose figures are known."""
    named = [("master", master.get("pid")), *((_label(worker, master.get("pid")), worker["pid"]) for worker in workers)]
    return [
        {"process": name, "pid": pid, "open": known.descriptors, "limit": known.limit or None}
        for name, pid in named
        if pid is not None and (known := processes.get(pid)) is not None
    ]


def _label(worker: Mapping[str, Any], master: int | None) -> str:
    """The name of a process, as metrics have it."""
    return f"{worker['role']}-{worker['seat']}" if worker["role"] == "proxy" or worker["master"] != master else str(worker["role"])
