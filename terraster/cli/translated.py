"""The questions of terrasterctl to the control socket, asked of the management API of another host: paths, bodies and answers.

An answer has the form that the control socket gives, so a command prints both alike. A question that only the host can answer is refused.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from .control import FAILED, UNKNOWN, Refused

__all__ = ["translated"]

Query = dict[str, str]
Document = dict[str, Any]

_REFUSALS = (404, 409, 412, 422)


class _Sender(Protocol):
    url: str

    def exchange(self, method: str, path: str, body: Document | None, head: dict[str, str]) -> tuple[int, Any]: ...


class _Refusal(Exception):
    """The API refuses what was asked. problems: why"""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(*problems)
        self.problems = problems


def translated(remote: _Sender, method: str, path: str, question: bytes | None, query: Query) -> Document:
    """The answer. Raises Refused."""
    found = _QUESTIONS.get((method, path))
    if found is None:
        raise Refused(f"this works only on the host that Terraster runs on, not by {remote.url}")
    try:
        return found(_Api(remote), {name: value for name, value in query.items() if name != "by"}, question)
    except _Refusal as refusal:
        generation = {"generation": None} if path == "/reload" else {}
        return {"ok": False, "problems": refusal.problems, "candidates": [], **generation}


class _Api:
    """Calls of the API."""

    def __init__(self, remote: _Sender) -> None:
        self._remote = remote

    def __call__(self, method: str, path: str, body: Document | None = None, /, **query: str) -> Document:
        """The answer; raises Refused or _Refusal. Parts of the query that are empty are left out."""
        given = {name: value for name, value in query.items() if value}
        whole = f"{path}?{urlencode(given)}" if given else path
        head = {"If-Match": "*"} if method in ("PUT", "PATCH", "DELETE") else {}
        status, value = self._remote.exchange(method, whole, body, head)
        if status >= 400:
            problem = value if isinstance(value, dict) else {}
            detail = str(problem.get("detail", f"status {status}"))
            if status in _REFUSALS:
                errors = [str(one.get("detail", "")) for one in problem.get("errors", ())]
                raise _Refusal(errors if errors and status == 422 else [detail, *errors])
            raise Refused(f"{self._remote.url}: {detail}", FAILED if status in (401, 403) or method == "GET" else UNKNOWN)
        return value if isinstance(value, dict) else {}


def _health(api: _Api, query: Query, question: bytes | None) -> Document:
    return {"ok": True}


def _status(api: _Api, query: Query, question: bytes | None) -> Document:
    return api("GET", "/api/status")


def _why(api: _Api, query: Query, question: bytes | None) -> Document:
    return api("GET", "/api/why", url=query["url"], service_name=query["service"])


def _explain(api: _Api, query: Query, question: bytes | None) -> Document:
    asked = json.loads(question or b"{}")
    found = api(
        "GET",
        "/api/explain",
        request=asked["request"],
        headers="\n".join(asked["headers"]),
        client=asked["client"],
        listener=asked["listener"],
    )
    return {"ok": True, "now": time.time(), **found}


_HEALTH = {"force-up": "up", "force-down": "down", "pause-checks": "paused", "resume-checks": "checks"}


def _backend(api: _Api, query: Query, question: bytes | None) -> Document:
    body: Document = {"reason": query["reason"]} if query["reason"] else {}
    if "for" in query:
        body["for"] = float(query["for"])
    if query["action"] == "weight":
        if query["weight"] == "file":
            raise Refused("`weight … file` works only on the host; here take the edit back: terrasterctl edits drop NUMBER")
        body["weight"] = int(query["weight"])
    elif query["action"] == "enable":
        body["drain"] = False
    elif query["action"] in _HEALTH:
        body["health"] = _HEALTH[query["action"]]
    else:
        body["drain" if query["action"] == "drain" else "maintenance"] = True
    service, slash, path = query["service"].partition("/")
    answer = api("PATCH", "/api/backends", body, service_name=service, path=slash + path, url=query["url"])
    (place, *_) = answer["locations"]
    known = api("GET", "/api/why", url=query["url"], service_name=place["service"], path=place["location"])
    account = {key: value for key, value in known["backends"][0].items() if key not in ("endpoints", "history", "day")}
    changed = bool(answer["changed"])
    return {"ok": True, "changed": changed, "backend": account, "notes": answer["notes"], "etag": place.get("etag", "")}


def _maintenance(api: _Api, query: Query, question: bytes | None) -> Document:
    body: Document = {"on": query["action"] == "on"}
    body |= {"reason": query["reason"]} if query["reason"] else {}
    body |= {"for": float(query["for"])} if "for" in query else {}
    found = api("POST", f"/api/services/{quote(query['service'], safe='')}/maintenance", body)
    return {"ok": True, "service": found["service_name"], **{key: found[key] for key in ("changed", "maintenance", "notes")}}


def _edit(api: _Api, query: Query, question: bytes | None) -> Document:
    (change,) = json.loads(query["changes"])
    service, slash, path = change["service"].partition("/")
    place = {"service_name": service, "path": slash + path, "dry_run": query.get("dry_run", "")}
    body: Document = {"url": change["url"], "reason": query["reason"], "for": change["for"]}
    if change["kind"] == "backend.remove":
        return _changed(api("DELETE", "/api/backends", body, **place))
    value = dict(change["value"])
    for key in ("weight", "max_connections", "priority"):
        if isinstance(value.get(key), str) and value[key].isdecimal():
            value[key] = int(value[key])
    return _changed(api("POST", "/api/backends", {**value, **body}, **place))


def _changed(answer: Document) -> Document:
    """The answer to a change; the API has a null where there was no dry run."""
    return {"ok": True, **{key: value for key, value in answer.items() if key != "touches" or value is not None}}


def _edits(api: _Api, query: Query, question: bytes | None) -> Document:
    edits: list[Any] = []
    orders: dict[str, Any] = {"backends": {}, "orphans": [], "services": {}}
    cursor = ""
    while True:
        page = api("GET", "/api/overrides", limit="500", cursor=cursor)
        edits += page["edits"]
        orders["backends"] |= page["orders"]["backends"]
        orders["orphans"] += page["orders"]["orphans"]
        orders["services"] |= page["orders"]["services"]
        if not (cursor := page["next"] or ""):
            return {"ok": True, "now": time.time(), "edits": edits, "orders": orders}


def _one(query: Query, what: str) -> str:
    if "," in query["numbers"]:
        raise Refused(f"by the API {what} one at a time: each is a generation of its own")
    return query["numbers"]


def _drop(api: _Api, query: Query, question: bytes | None) -> Document:
    number = _one(query, "edits are dropped")
    return _changed(api("DELETE", f"/api/overrides/{number}", dry_run=query.get("dry_run", "")))


def _adopt(api: _Api, query: Query, question: bytes | None) -> Document:
    number = _one(query, "edits are adopted")
    return _changed(api("POST", f"/api/overrides/{number}/adopt", dry_run=query.get("dry_run", "")))


def _generations(api: _Api, query: Query, question: bytes | None) -> Document:
    return {"ok": True, "now": time.time(), "generations": api("GET", "/api/generations")["items"]}


def _rollback(api: _Api, query: Query, question: bytes | None) -> Document:
    body = {"reason": query["reason"]} if query["reason"] else None
    return _changed(api("POST", f"/api/generations/{query['numbers']}/rollback", body, dry_run=query.get("dry_run", "")))


def _reload(api: _Api, query: Query, question: bytes | None) -> Document:
    return {"kept": [], **_changed(api("POST", "/api/reload", dry_run=query.get("dry_run", "")))}


def _plugins(api: _Api, query: Query, question: bytes | None) -> Document:
    rows: list[Any] = []
    cursor = ""
    while True:
        page = api("GET", "/api/plugins", limit="500", cursor=cursor)
        rows += page["items"]
        if not (cursor := page["next"] or ""):
            return {"ok": True, "now": time.time(), "plugins": rows}


def _audit(api: _Api, query: Query, question: bytes | None) -> Document:
    return {"ok": True, "now": time.time(), **api("GET", "/api/audit", None, **query)}


def _verify(api: _Api, query: Query, question: bytes | None) -> Document:
    if query.get("head"):
        raise Refused("--head works only on the host")
    found = api("GET", "/api/audit/verify")
    return {**found, "problems": [found["problem"]] if found["problem"] else [], "candidates": []}


def _events(api: _Api, query: Query, question: bytes | None) -> Document:
    return {"ok": True, "now": time.time(), **api("GET", "/api/events", None, **query)}


_QUESTIONS: dict[tuple[str, str], Callable[[_Api, Query, bytes | None], Document]] = {
    ("GET", "/healthz"): _health,
    ("GET", "/status"): _status,
    ("GET", "/why"): _why,
    ("POST", "/explain"): _explain,
    ("POST", "/backend"): _backend,
    ("POST", "/maintenance"): _maintenance,
    ("POST", "/edit"): _edit,
    ("GET", "/edits"): _edits,
    ("DELETE", "/edits"): _drop,
    ("POST", "/edits/adopt"): _adopt,
    ("GET", "/generations"): _generations,
    ("POST", "/rollback"): _rollback,
    ("POST", "/reload"): _reload,
    ("GET", "/plugins"): _plugins,
    ("GET", "/audit"): _audit,
    ("GET", "/audit/verify"): _verify,
    ("GET", "/events"): _events,
}
