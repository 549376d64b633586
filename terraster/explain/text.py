"""An explanation as text for people: of `terraster --explain`, `terrasterctl explain` and the API. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["lines", "strange"]

_MANY = 30
"""Backends of a location that the text names, besides the one that is picked."""


def strange(port: int, found: Sequence[dict[str, Any]], listener: str) -> int:
    """The port of a request if it is that of no listener, else 0. listener: the one that was named, "" = none"""
    return 0 if listener or any(one["listener"].endswith(f":{port}") for one in found) else port


def lines(request: str, port: int, found: Sequence[dict[str, Any]], live: bool) -> list[str]:
    """The text for people. request: the question. port: that no listener has, though the question names it; 0 = it names none like that.
    found: the courses as documents. live: True: by the configuration that is running"""
    made = [request]
    if port:
        made.append(f"No listener has port {port}. {'Each that could be meant' if len(found) > 1 else 'This one could be meant'}:")
    for course in found:
        made.append("")
        made += _course(course, live)
    return made


def _course(course: dict[str, Any], live: bool) -> list[str]:
    rows = [("listener", course["listener"])]
    if course["service"]:
        by = f"by its host {course['host']}" if course["host"] else "by its TLS settings"
        rows.append(("service", f"{course['service']}, {by}{_at(course['service_place'])}"))
        rows.append(("location", f"{course['location'] or 'none'}{_at(course['place'])}"))
    else:
        rows.append(("service", "none"))
    rows += [("  near", f"{near['text']}{_at(near['place'])}") for near in course["near"]]
    for decision in course["decisions"]:
        rows.append(("filter", f"{decision['kind']} {decision['text']}{_at(decision['place'])}"))
    if course["candidates"]:
        rows.append(("backends", f"{course['algorithm']}{'' if live else ', as if all were up'}: {course['manner']}"))
        several = course["candidates"]
        shown = several if len(several) <= _MANY else [one for at, one in enumerate(several) if at < _MANY or one["picked"]]
        rows += [("", _candidate(one, live)) for one in shown]
        if len(shown) < len(several):
            rows.append(("", f"and {len(several) - len(shown)} more, which --json shows"))
    if course["head"]:
        lines = course["head"].rstrip("\r\n").split("\r\n")
        rows += [("sent" if not at else "", line) for at, line in enumerate(lines)]
    elif course["status"]:
        rows.append(("answer", f"{course['status']}{': ' + course['reason'] if course['reason'] else ''}"))
    else:
        rows.append(("answer", f"none: {course['reason']}"))
    return [f"{name:10} {text}".rstrip() for name, text in rows]


def _candidate(one: dict[str, Any], live: bool) -> str:
    parts = [one["url"], f"weight {one['weight']}"]
    if live:
        parts.append(f"{one['state']}, {one['active']} in flight" if one["state"] == "up" else f"{one['active']} in flight")
    if one["note"]:
        parts.append(one["note"])
    if one["picked"]:
        parts.append("picked now")
    return ", ".join(parts)


def _at(place: str) -> str:
    return f" ({place})" if place else ""
