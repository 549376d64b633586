"""Courses as a document: what `--json` prints, and what the text for people is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from .course import Course

__all__ = ["Place", "document"]

Place = Callable[[str, str, str], str]
"""The file, line and column of a rule, from the service's name, the location's label and the filter's kind; "" if it has none."""


def document(course: Course, place: Place) -> dict[str, Any]:
    """A course, with the places of its rules."""
    made = asdict(course)
    made["status"] = course.status or None
    made["head"] = course.head.decode("latin-1")
    made["place"] = place(course.service, course.location, "") if course.location else ""
    made["service_place"] = place(course.service, "", "") if course.service else ""
    made["near"] = [
        {"text": near.text, "place": place(near.service, near.location, "") if near.service else ""} for near in course.near
    ]
    for decision in made["decisions"]:
        decision["place"] = place(course.service, decision.pop("location"), decision.pop("key") or decision["kind"])
    return made
