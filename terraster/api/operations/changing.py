"""How operations that change the configuration ask the master, and how its answers become those of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..call import Answer, Call, Effect
from ..deps import Deps
from ..problem import Mistake, Refused

__all__ = ["MEMBERS", "answered", "by", "change", "checked", "edited", "etag"]

MEMBERS = ("generation", "changed", "changes", "notes", "edits", "locations", "seconds", "dry_run")

_STATUS = {
    "unknown": 404,
    "ambiguous": 422,
    "invalid": 422,
    "conflict": 409,
    "stale": 412,
    "busy": 503,
    "failed": 503,
    "often": 429,
}
_MOST = 50  # lines of an effect that the audit log has


def by(call: Call) -> str:
    """The operator of a call."""
    return call.caller.name if call.caller is not None else ""


def change(kind: str, call: Call, *, url: str = "", value: Mapping[str, Any] | None = None, seconds: float = 0.0) -> dict[str, Any]:
    """A change for the master of the location that the query names."""
    return {
        "kind": kind,
        "service": call.query.service_name,
        "path": call.query.path,
        "url": url,
        "value": dict(value or {}),
        "for": seconds,
        "if_match": ", ".join(call.if_match),
    }


def checked(answer: Mapping[str, Any], target: str = "") -> Mapping[str, Any]:
    """The answer of the master. Raises `Refused` for a refusal, with all of its reasons. target: of a refusal, for the audit"""
    if answer["ok"]:
        return answer
    status = _STATUS.get(answer.get("code", "invalid"), 422)
    problems = answer["problems"]
    headers = [("ETag", answer["etag"])] if answer.get("etag") else []
    headers += [("Retry-After", "2")] if status in (429, 503) else []
    errors = [Mistake(pointer="", detail=problem) for problem in problems] if status == 422 else []
    raise Refused(status, "; ".join(problems), errors, headers, target=target)


def edited(deps: Deps, call: Call, changes: Sequence[dict[str, Any]], reason: str, status: int = 200) -> Answer:
    """Make changes, all or none."""
    dry_run = call.query.dry_run
    kinds, urls = {one["kind"] for one in changes}, [one["url"] for one in changes if one["url"]]
    answer = deps.ask("edit", changes=list(changes), by=by(call), reason=reason, dry_run=dry_run)
    wanted = dict.fromkeys(f"{one['service']}{one['path']}" for one in changes)
    checked(answer, " ".join((", ".join([*wanted][:_MOST]), *urls[:_MOST])).strip())
    return answered(answer, reason, 200 if dry_run else status, kinds.pop() if len(kinds) == 1 else "", urls)


def answered(answer: Mapping[str, Any], reason: str, status: int = 200, action: str = "", urls: Sequence[str] = ()) -> Answer:
    """The answer to a change that was made. action: for the audit, "": as the operation has it; urls: of the backends that it is about"""
    value = {name: answer[name] for name in MEMBERS} | {"touches": answer.get("touches")}
    places = answer["locations"]
    return Answer(
        value,
        status=status,
        etag=places[0]["etag"] if len(places) == 1 and not answer["dry_run"] else "",
        effect=Effect(
            target=" ".join((", ".join(f"{one['service']}{one['location']}" for one in places[:_MOST]), *urls[:_MOST])),
            after=None if answer["dry_run"] else {"changed": answer["changed"][:_MOST], "changes": answer["changes"][:_MOST]},
            reason=reason,
            generation=0 if answer["dry_run"] else answer["generation"],
            action=action,
        ),
    )


def etag(deps: Deps, service: str, path: str) -> tuple[str, str]:
    """The place of a location and its ETag; path: "" if the service has one only. Raises `Refused`."""
    answer = deps.ask("etags", service=service)
    if not answer["ok"]:
        raise Refused(404, answer["problems"][0])
    tags: Mapping[str, str] = answer["etags"]
    if not path and len(tags) == 1:
        return next(iter(tags.items()))
    for place in (path, path.rstrip("/") or "/"):
        if place in tags:
            return place, tags[place]
    there = ", ".join(tags)
    if not path:
        raise Refused(422, f"`path` is needed: service {service} has several locations", [_path(f"there are {there}")])
    raise Refused(404, f"service {service} has no location {path}; there are {there}")


def _path(words: str) -> Mistake:
    return Mistake(pointer="/path", detail=words, where="query")
