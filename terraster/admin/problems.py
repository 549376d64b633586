"""The problems of `terrasterctl status`, the worst first.

Pure: the rows of the status document go in, each problem comes out as plain JSON values. docs/operations.md lists the kinds.

The module is longer than 400 lines because the kinds of problems, a short function each, are read together.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..certs.choice import uncovered
from ..config.plugin import quarantine_reasons
from ..config.snapshot import Snapshot
from ..policy.expiry import span
from ..policy.server_errors import Count, prevail, stands_out
from ..state.cells import MasterCells
from .folded import Told, folded
from .seat_readings import FULL, LostLines

__all__ = [
    "of_audit",
    "of_history",
    "of_users",
    "of_authorities",
    "of_certificates",
    "of_documents",
    "of_level",
    "of_logs",
    "of_mail",
    "of_objectives",
    "of_orders",
    "of_plugins",
    "of_staples",
    "problems",
    "stopping_in_words",
]

LOST_SHOWN = 60.0  # seconds for which lost log lines are a problem
LATELY = 60.0  # seconds for which a want of descriptors remains a problem
SCARCE = 0.9  # part of the limit of descriptors from which on they are a problem of the master or the admin worker

_WORDS = {
    "connections-limit": "limits.connections is reached",
    "descriptors": "its file descriptors (limit {limit}) are in use, and no client is idle",
}

FAILING = 5  # recent failed attempts before a backend becomes a problem …
FAILING_SHARE = 0.1  # … if they are at least this part of its recent attempts


def problems(
    services: list[dict[str, Any]], workers: list[dict[str, Any]], saturation: Mapping[str, Any], master: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """All problems, the worst first: missing, hung and full workers, want of descriptors, locations that cannot serve, unhealthy
    backends, queues, failed reloads, failed look-ups, workers that are behind."""
    found = []
    proxies = [worker for worker in workers if worker["role"] == "proxy" and not worker["draining"] and worker["responding"]]
    wanted = master.get("wanted_workers") or 0
    stopping = MasterCells.RUNNING if master.get("upgrade") else master.get("stopping", MasterCells.RUNNING)
    if stopping != MasterCells.RUNNING:
        found.append(_problem("stopping", stopping_in_words(stopping, sum(worker["connections"] for worker in workers))))
    elif not proxies:
        found.append(_problem("no-workers", "no proxy worker accepts connections"))
    elif len(proxies) < wanted:
        found.append(_problem("few-workers", f"{len(proxies)} of {wanted} proxy workers accept connections"))
    for worker in workers:
        if not worker["responding"]:
            text = f"{_name(worker)} has not responded for {worker['silent']:.0f} s: it should give a sign of life every second"
            found.append(_problem("worker-silent", text))
    for worker in workers:
        found += _of_room(worker, saturation)
    for one in saturation["descriptors"]:
        if one["limit"] and one["open"] >= SCARCE * one["limit"] and not one["process"].startswith("proxy"):
            text = f"the {one['process']} process has {one['open']} of {one['limit']} file descriptors open"
            found.append(_problem("descriptors", text))
    places: list[Told] = []
    backends: list[Told] = []
    queues = []
    for service in services:
        if order := service["maintenance"]:
            places.append((None, _of_maintenance(service["name"], order)))
        for location in service["locations"]:
            where = {"service": service["name"], "location": location["path"]}
            used = tuple(backend["url"] for backend in location["backends"])
            places += [(used if one["kind"] == "no-backends" else None, one) for one in _of_location(location, where)]
            of_backends = []
            for backend in location["backends"]:
                of_backends += _of_backend(
                    backend, {**where, **_which(backend), "since": backend["since"], "until": backend["until"]}
                ) or _of_statuses(backend, location["backends"], where)
            if not any(one["kind"] == "backend-errors" for one in of_backends) and prevail(_count(location["backends"])):
                of_backends.append(_problem("location-errors", _of_errors(location["backends"]), **where))
            backends += [(one["backend"] if one["kind"] == "backend-down" else None, one) for one in of_backends]
            if location["queued"]:
                queues.append(_problem("queue", _of_queue(location), **where))
    found += folded(places) + folded(backends) + queues
    last = master.get("last_reload")
    if last and not last["ok"]:
        found.append(_problem("reload-failed", "; ".join(last["problems"]), since=last["when"]))
    refused = master.get("refused_refresh")
    if refused:
        found.append(_problem("refresh-failed", f"{refused['why']}: {'; '.join(refused['problems'])}", since=refused["when"]))
    for name, known in master.get("names", {}).items():
        if known["failure"]:
            stays = "the last answer is still used" if known["endpoints"] else "its backends are down"
            since = known["failing_since"]
            found.append(_problem("name-failing", f"the DNS look-up of {name} fails: {known['failure']}; {stays}", since=since))
    for worker in workers:
        if worker["master"] != master.get("pid") or worker["draining"] or worker["state"] != "serving":
            continue
        if worker["generation"] != master.get("generation"):
            text = f"{_name(worker)} runs generation {worker['generation']}, not {master.get('generation')}"
            found.append(_problem("worker-behind", text))
    return found


def of_certificates(
    certificates: Sequence[Mapping[str, Any]], snapshot: Snapshot, watched: Iterable[Mapping[str, Any]], now: float
) -> list[dict[str, Any]]:
    """The problems of certificates, the worst first.

    certificates: of `terraster.admin.certificates.rows`, those that end soonest first
    watched:      what the master says of the files, those in folders that it cannot use included: ``file services problem``
    """
    found: dict[str, list[dict[str, Any]]] = {"expired": [], "not-yet-valid": [], "expiring": [], "valid": []}
    for row in certificates:
        what, where = f"the certificate {row['file']}", {"service": row["service"]}
        why = f"; its renewal cannot be used: {row['problem']}" if row["problem"] else ""
        here = found[row["state"]]
        match row["state"]:
            case "expired":
                here.append(_problem("certificate-expired", f"{what} expired {span(now - row['expires'])} ago{why}", **where))
            case "not-yet-valid":
                text = f"{what} is not valid yet; it begins in {span(row['not_before'] - now)}{why}"
                here.append(_problem("certificate-not-yet-valid", text, **where))
            case "expiring":
                here.append(_problem("certificate-expiring", f"{what} expires in {span(row['expires'] - now)}{why}", **where))
            case _ if row["problem"]:
                text = f"{row['problem']}; the certificate from before stays in use, for {span(row['expires'] - now)} at most"
                here.append(_problem("certificate-broken", text, **where))
    missing = []
    for service in snapshot.services:
        if service.tls is not None and (hosts := uncovered(service)):
            ends = "the clients of the service are refused" if not service.tls.certificates else "its clients get another one"
            text = f"no certificate for {', '.join(hosts)}: {ends}"
            missing.append(_problem("certificate-missing", text, service=service.name))
    unused = [_problem("certificate-broken", f"{one['problem']}; it is not used") for one in watched if not one["services"]]
    return found["expired"] + missing + found["not-yet-valid"] + found["expiring"] + found["valid"] + unused


def of_staples(certificates: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The problems of OCSP responses, the worst first. certificates: of `terraster.admin.certificates.rows`"""
    found: dict[str, list[dict[str, Any]]] = {"revoked": [], "missing": [], "failing": []}
    for row in certificates:
        what, where = f"the certificate {row['file']}", {"service": row["service"]}
        why = row["ocsp_problem"]
        if row["ocsp"] == "revoked":
            found["revoked"].append(_problem("ocsp-revoked", f"{what} is revoked: {why}", **where))
        elif row["must_staple"] and row["ocsp"] != "good":
            text = f"{what} wants an OCSP response (must-staple), so clients may refuse it, and there is none"
            found["missing"].append(_problem("ocsp-missing", f"{text}{why and ': '}{why}", **where))
        elif row["ocsp"] == "good" and why:
            text = f"{what} gets no newer OCSP response: {why}; the one from before is sent"
            found["failing"].append(_problem("ocsp-failing", text, **where))
        elif row["ocsp"] == "expired" or why:
            text = f"no OCSP response is sent for {what}: {why or 'it expired'}"
            found["failing"].append(_problem("ocsp-failing", text, **where))
    return [problem for several in found.values() for problem in several]


def of_orders(orders: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The certificates that could not be obtained. orders: of `terraster.admin.acme.Orderer.rows`"""
    found = []
    for row in orders:
        if row["why"]:
            at = time.strftime("%H:%M:%S UTC", time.gmtime(row["next"])) if row["next"] else "once this process may"
            text = f"no certificate was obtained for {', '.join(row['names'])}: {row['why']}; tried again at {at}"
            found.append(_problem("order-failing", text, service=row["service"]))
    return found


def of_audit(failure: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A problem if rows of the audit log cannot be written. failure: ``text since``"""
    return _failing("audit-failing", failure, "changes are carried out all the same, and their rows wait")


def of_users(failure: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A problem if the users' database cannot be used. failure: ``text since``"""
    return _failing("users-failing", failure, "all but the management API goes on")


def of_history(failure: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A problem if the history cannot be written. failure: ``text since``"""
    return _failing("history-failing", failure, "these minutes are lost, and all else goes on")


def _failing(kind: str, failure: Mapping[str, Any] | None, then: str) -> list[dict[str, Any]]:
    return [] if failure is None else [_problem(kind, f"{failure['text']}; {then}", since=failure["since"])]


def of_objectives(objectives: Sequence[Mapping[str, Any]], beyond: int) -> list[dict[str, Any]]:
    """The objectives whose budget burns fast, the fastest first. objectives: of `terraster.admin.slo_rows`. beyond: how many are not counted"""
    fast = [one for one in objectives if one["burning"] is not None and one["burning"]["severity"] == "page"]
    fast.sort(key=lambda one: -one["burning"]["rate"])
    found = [_problem("slo-burning", one["burning"]["text"], service=one["service"], location=one["location"]) for one in fast]
    if beyond:
        found.append(_problem("slo-not-counted", f"there are more objectives (`slo`) than are counted: {beyond} are left out"))
    return found


def of_level(order: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A problem as long as the log has the level that an operator wants, lest it is forgotten."""
    if order is None:
        return []
    reason = f": {order['reason']}" if order["reason"] else ""
    text = f"the log has the {order['what']}, by {order['by'] or 'an operator'}{reason}"
    return [_problem("log-level", text, since=order["when"], until=order["until"])]


def of_mail(failure: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A problem if mails cannot be sent. failure: ``text since``"""
    if failure is None:
        return []
    return [_problem("mail-failing", f"no mail about certificates that expire: {failure['text']}", since=failure["since"])]


def of_documents(failures: Mapping[str, str]) -> list[dict[str, Any]]:
    """The documents of filters that could not be fetched. failures: why, by URL"""
    return [
        _problem("fetch-failing", f"{url} was not fetched: {why}; what was fetched before stays in use")
        for url, why in sorted(failures.items())
    ]


def of_plugins(plugins: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The plugins that are not called, and those of which a newer version cannot be used. plugins: of `terraster.admin.plugins.rows`"""
    found = []
    for row in plugins:
        workers = row["quarantined_workers"]
        if workers:
            where = f"in {workers} worker{'s' * (workers != 1)}"
            text = f"the plugin {row['name']} is in quarantine {where}: {quarantine_reasons(row)}; the log has the reasons"
            found.append(_problem("plugin-quarantined", text))
        if row["problem"]:
            found.append(_problem("plugin-broken", f"{row['problem']}; the version before stays in use"))
    return found


def of_authorities(authorities: Sequence[Mapping[str, Any]], now: float) -> list[dict[str, Any]]:
    """The problems of lists of revoked certificates, the worst first. authorities: of `terraster.admin.authorities.rows`"""
    found: dict[str, list[dict[str, Any]]] = {"expired": [], "expiring": [], "broken": []}
    for row in authorities:
        where = {"service": row["service"]}
        match row["state"]:
            case "expired":
                text = f"the CRL {row['file']} expired {span(now - row['expires'])} ago: clients with certificates are refused"
                found["expired"].append(_problem("crl-expired", text, **where))
            case "expiring":
                text = f"the CRL {row['file']} expires in {span(row['expires'] - now)}: then clients with certificates are refused"
                found["expiring"].append(_problem("crl-expiring", text, **where))
        if row["problem"]:
            text = f"{row['problem']}; what was read before stays in use"
            found["broken"].append(_problem("client-auth-broken", text, **where))
    return [problem for several in found.values() for problem in several]


def of_logs(lost: LostLines, now: float) -> list[dict[str, Any]]:
    """A problem if log lines were lost lately."""
    ago = max(0.0, now - lost.last)
    if not lost.last or ago > LOST_SHOWN:
        return []
    logs = [(lost.access, "access logs"), (lost.program, "the program's log")]
    lines = " and ".join(f"{count} line{'s' * (count != 1)} of {log}" for count, log in logs if count)
    were = "was" if lost.access + lost.program == 1 else "were"
    return [_problem("log-lines-lost", f"{lines} {were} lost since the start, the last one {ago:.0f} s ago: {lost.why}")]


def _of_room(worker: Mapping[str, Any], saturation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A problem if clients wait because a worker is full, or if it was short of descriptors lately."""
    limit = next((one["limit"] for one in saturation["descriptors"] if one["pid"] == worker["pid"]), None)
    if worker["full"] >= FULL:
        why = _WORDS[worker["full_why"]].format(limit=limit or "unknown")
        text = f"{_name(worker)} has {worker['connections']} client connections and cannot take another one, so new clients wait: {why}"
        return [_problem("worker-full", f"{text} ({worker['full']:.0f} s so far)")]
    if worker["short"] is not None and worker["short"] < LATELY:
        done = f"so far it has ended {worker['idle_clients_ended']} idle client connections"
        done += f", and could not accept {worker['accept_errors']}" if worker["accept_errors"] else ""
        text = f"{_name(worker)} is short of file descriptors (limit {limit or 'unknown'}): {done}"
        return [_problem("descriptors", text)]
    return []


def _name(worker: Mapping[str, Any]) -> str:
    return f"{worker['role']} worker {worker['pid']}"


def _of_location(location: Mapping[str, Any], where: Mapping[str, Any]) -> list[dict[str, Any]]:
    backends = location["backends"]
    up = sum(backend["up"] for backend in backends)
    if location["panic"]:
        text = f"panic mode: {up} of {len(backends)} backends {'is' if up == 1 else 'are'} healthy, so all of them are used"
        return [_problem("panic", text, **where)]
    if not backends or any(backend["up"] and backend["weight"] for backend in backends):
        return []
    if any(backend["admit"] in ("all", "ramping") and backend["weight"] for backend in backends):
        return [_problem("panic", "panic mode: only ejected backends are left, so they are used", **where)]
    if any(backend["admit"] == "trial" and backend["weight"] for backend in backends):
        return []
    if up:
        text, whose = "every backend that is up has weight 0", "new requests are"
    elif all(backend["state"] in ("draining", "maintenance") for backend in backends):
        text, whose = "every backend is draining or in maintenance", "new requests are"
    else:
        text, whose = "no backend is up", "every request is"
    return [_problem("no-backends", f"{text}: {_consequence(location['arm'], whose)}", **where)]


def _consequence(arm: Mapping[str, Any] | None, whose: str) -> str:
    """The consequence for requests if a location takes none. arm: if it is an arm of a split"""
    if arm is not None and not arm["weight"]:
        return "the arm has weight 0, so only requests that ask for it are answered with 503"
    if arm is not None and arm["fallback"]:
        return "clients of this arm go to other arms (`fallback`)"
    return f"{whose} answered with 503"


def _of_maintenance(service: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """The order of an operator by which a service answers nothing but 503."""
    text = f"under maintenance by {order['by'] or 'an operator'}, so requests are answered with 503"
    text += f": {order['reason']}" if order["reason"] else ""
    return _problem("maintenance", text, service=service, since=order["when"], until=order["until"])


def _of_queue(location: Mapping[str, Any]) -> str:
    queued, size = location["queued"], location["queue"]
    waits = f"{queued} requests wait" if queued > 1 else "1 request waits"
    full = ": the queue is full, further requests are answered with 503" if queued >= size else ""
    return f"{waits} for a backend with room (at most {size} may wait){full}"


def _of_backend(backend: Mapping[str, Any], where: Mapping[str, Any]) -> list[dict[str, Any]]:
    forced = backend["forced"]
    if forced is not None and backend["reason"].startswith((forced["what"], "health checks are paused")):
        return [_problem("forced", _of_forced(forced), **{**where, "since": forced["when"], "until": forced["until"]})]
    if backend["state"] == "down":
        return [_problem("backend-down", _with_certificate(backend, backend["reason"]), **where)]
    if backend["state"] == "ejected" and backend["circuit"] == "open":
        return [_problem("circuit-open", _with_certificate(backend, backend["reason"]), **where)]
    if (
        backend["state"] == "ejected" and backend["circuit"] == "half-open" and backend["admit"] != "none"
    ):  # a draining backend gets no trial
        return [_problem("circuit-half-open", backend["reason"], **where)]
    if backend["state"] == "ejected":
        return [_problem("backend-ejected", _with_certificate(backend, backend["reason"]), **where)]
    attempts, failures = backend["recent_attempts"], backend["recent_failures"]
    if backend["state"] != "maintenance" and failures >= FAILING and failures >= FAILING_SHARE * attempts:
        text = f"{failures} of {attempts} attempts failed in the last {backend['recent_seconds']:.0f} s"
        last = f"; last failure: {backend['recent_failure']}" if backend["recent_failure"] else ""
        kept = f"; not ejected: {backend['not_ejected']}" if backend["not_ejected"] else ""
        return [_problem("backend-failing", _with_certificate(backend, text + last + kept), **{**where, "since": None})]
    return []


def _of_forced(forced: Mapping[str, Any]) -> str:
    """An operator's decision in place of a backend's health checks, in words."""
    what, _, state = forced["what"].partition(" ")
    how = (
        f"health checks are paused, and it stays {state}" if what == "paused" else f"forced {state}, whatever its health checks say"
    )
    reason = f": {forced['reason']}" if forced["reason"] else ""
    return f"{how}, by {forced['by'] or 'an operator'}{reason}"


def _with_certificate(backend: Mapping[str, Any], text: str) -> str:
    """The text of a problem; if the backend's certificate is the reason, with what it says and what can be done."""
    words = backend["shown_certificate"]
    return f"{text}; {words}" if words and "the backend's certificate" in text else text


def _of_statuses(
    backend: Mapping[str, Any], all_backends: Sequence[Mapping[str, Any]], where: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A problem if the backend's server errors stand out from its siblings'."""
    one, together = _count([backend]), _count(all_backends)
    siblings = Count(together.attempts - one.attempts, together.errors - one.errors)
    if backend["state"] == "maintenance" or not stands_out(one, siblings):
        return []
    others = f"{siblings.errors} of {siblings.attempts} at the other backends of its location"
    text = f"{_of_errors([backend])}, {others}"
    return [_problem("backend-errors", text, **where, **_which(backend))]


def _of_errors(backends: Sequence[Mapping[str, Any]]) -> str:
    """How many recent attempts at these backends were answered with a server error."""
    count = _count(backends)
    seconds = max(backend["recent_responses"]["seconds"] for backend in backends if backend["recent_responses"])
    return (
        f"{count.errors} of {count.attempts} attempts in the last {max(1.0, seconds):.0f} s were answered with a server error (5xx)"
    )


def _count(backends: Iterable[Mapping[str, Any]]) -> Count:
    """The recent attempts and server errors of these backends together."""
    known = [backend["recent_responses"] for backend in backends if backend["recent_responses"]]
    return Count(sum(one["attempts"] for one in known), sum(one["5xx"] for one in known))


def stopping_in_words(stopping: int, connections: int) -> str:
    """The state of a master that stops, as a sentence. stopping: `MasterCells.DELAY` or `MasterCells.DRAIN`; connections: how many are open"""
    are = "1 connection is" if connections == 1 else f"{connections} connections are"
    if stopping == MasterCells.DELAY:
        return f"Terraster is stopping and still accepts connections during drain_delay; {are} open"
    return f"Terraster is stopping and finishes open requests; {are} open"


def _which(backend: Mapping[str, Any]) -> dict[str, Any]:
    return {"backend": backend["url"], "backend_name": backend["name"]}


_NOWHERE = {
    "service": None,
    "location": None,
    "backend": None,
    "backend_name": None,
    "since": None,
    "until": None,
    "locations": None,
}


def _problem(kind: str, text: str, **where: Any) -> dict[str, Any]:
    return {"kind": kind, "text": text, **_NOWHERE, **where}
