"""`terraster --explain 'GET URL'`: what Terraster would do with a request, and why."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from terraster.config.snapshot import Snapshot
    from terraster.explain.course import Course
    from terraster.explain.question import Question

__all__ = ["explain"]

Place = Callable[[str, str, str], str]
"""The file, line and column of a rule, from the service's name, the location's path and the filter's kind; "" if it has none."""


def explain(
    load: Callable[[int], Snapshot], place: Place, text: str, fields: Sequence[str], client: str, listener: str, as_json: bool
) -> int:
    """Explain one request by the configuration on disk, as if all backends were up. Returns the exit code. Raises ValueError in words,
    ConfigError or StartError."""
    from terraster.explain.course import courses, prepared
    from terraster.explain.question import ask

    question = ask(text, fields, client)
    found = courses(prepared(load(1)), question, listener, time.monotonic(), time.time())
    if as_json:
        print(json.dumps([_document(one, place) for one in found], indent=2))
    else:
        print("\n".join(_lines(question, found, place)))
    return 0


def _document(course: Course, place: Place) -> dict[str, Any]:
    made = asdict(course)
    made["head"] = course.head.decode("latin-1")
    made["place"] = place(course.service, course.location, "") if course.service else ""
    for decision in made["decisions"]:
        decision["place"] = place(course.service, course.location, decision["kind"])
    return made


def _lines(question: Question, found: Sequence[Course], place: Place) -> list[str]:
    lines = [question.shown()]
    if len(found) > 1:
        lines.append(f"No listener has port {question.port}. Each that could be meant:")
    for course in found:
        lines.append("")
        lines += _course(course, place)
    return lines


def _course(course: Course, place: Place) -> list[str]:
    rows = [("listener", course.listener)]
    if course.service:
        by = f"by its host {course.host}" if course.host else "by its TLS settings"
        rows.append(("service", f"{course.service}, {by}{_at(place(course.service, '', ''))}"))
        where = _at(place(course.service, course.location, "")) if course.location else ""
        rows.append(("location", f"{course.location or 'none'}{where}"))
    else:
        rows.append(("service", "none"))
    rows += [("  near", text) for text in course.near]
    for decision in course.decisions:
        rows.append(("filter", f"{decision.kind} {decision.text}{_at(place(course.service, course.location, decision.kind))}"))
    if course.candidates:
        rows.append(("backends", f"{course.algorithm}, as if all were up"))
        for one in course.candidates:
            note = ", picked now" if one.picked else "" if one.takes else ", takes no new work"
            rows.append(("", f"{one.url}, weight {one.weight}{note}"))
    if course.head:
        lines = course.head.decode("latin-1").rstrip("\r\n").split("\r\n")
        rows += [("sent" if not at else "", line) for at, line in enumerate(lines)]
    elif course.status:
        rows.append(("answer", f"{course.status}{': ' + course.reason if course.reason else ''}"))
    else:
        rows.append(("answer", f"none: {course.reason}"))
    return [f"{name:10} {text}".rstrip() for name, text in rows]


def _at(place: str) -> str:
    return f" ({place})" if place else ""
