"""The audit log: who changed what."""

from __future__ import annotations

from ..call import Answer, Call, Role
from ..deps import Deps
from ..models.audit import AuditPage, AuditQuery, Verdict
from ..operation import Operation

__all__ = ["operations"]


def operations(deps: Deps) -> tuple[Operation, ...]:
    reader = Reader(deps)
    return (
        Operation(
            method="GET",
            path="/api/audit",
            id="listAudit",
            tag="audit",
            summary="The rows of the audit log, the newest first",
            detail="Each change that was asked for has a row, also a refused one.",
            handle=reader.rows,
            role=Role.READER,
            query=AuditQuery,
            answer=AuditPage,
            refuses=(503,),
            example={"query": {"action": "backend", "limit": "10"}},
        ),
        Operation(
            method="GET",
            path="/api/audit/verify",
            id="verifyAudit",
            tag="audit",
            summary="The proof that the audit log is whole",
            handle=reader.verdict,
            role=Role.ADMIN,
            answer=Verdict,
            refuses=(503,),
        ),
    )


class Reader:
    """The handlers."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def rows(self, call: Call) -> Answer:
        query = call.query
        words = {"user": query.user, "action": query.action, "target": query.target}
        rows, cursor = self._deps.audit.page(words, query.since, query.until, query.limit, query.cursor)
        return Answer({"rows": rows, "cursor": cursor})

    def verdict(self, call: Call) -> Answer:
        found = self._deps.audit.verdict()
        problem = f"{found.place}: {found.problem}" if found.place else found.problem
        return Answer({"ok": not problem, "problem": problem, "rows": found.rows, "last": found.seq, "hash": found.hash})
