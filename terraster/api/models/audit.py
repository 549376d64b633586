"""Rows of the audit log."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from .base import Digits, Model, Query

__all__ = ["AuditPage", "AuditQuery", "AuditRow", "Seconds", "Verdict"]

Seconds = Annotated[float, Field(ge=0, le=1e11, description="Seconds since 1970.")]
Start = Annotated[str, Field(max_length=500)]


class AuditQuery(Query):
    """Which rows, the newest first."""

    since: Annotated[Seconds, Field(description="Only rows from this moment on, in seconds since 1970.")] = 0.0
    until: Annotated[Seconds, Field(description="Only rows before this moment, in seconds since 1970; 0: all.")] = 0.0
    user: Annotated[Start, Field(description="Only rows whose user begins like this.")] = ""
    action: Annotated[Start, Field(description="Only rows whose action begins like this.")] = ""
    target: Annotated[Start, Field(description="Only rows whose target begins like this.")] = ""
    limit: Annotated[Digits, Field(ge=1, le=1000, description="How many rows at most.")] = 50
    cursor: Annotated[Digits, Field(ge=0, le=10**15, description="The `cursor` of the page before.")] = 0


class AuditRow(Model):
    """One change."""

    seq: int
    when: float
    user: str
    role: str
    how: str
    address: str
    action: str
    target: str
    before: Any
    after: Any
    reason: str
    generation: int | None
    outcome: str
    detail: str
    request_id: str
    prev: str
    hash: str


class AuditPage(Model):
    """A page of rows."""

    rows: list[AuditRow]
    cursor: Annotated[int | None, Field(description="For the page behind this one; null: there is none.")]


class Verdict(Model):
    """The state of the chain of rows. ok: True if it is whole"""

    ok: bool
    problem: Annotated[str, Field(description="The first row that does not fit, with its place.")]
    rows: int
    last: int
    hash: str
