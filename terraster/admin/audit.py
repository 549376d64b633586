"""The audit log as terrasterctl and the API read it: a page of rows, and the verdict on the chain."""

from __future__ import annotations

from typing import Any

from terraster.audit.log import AuditError, AuditLog
from terraster.audit.row import Row

from .auditor import Auditor
from .site import Refusal

__all__ = ["MOST", "listed", "page", "verdict"]

MOST = 1000  # rows in one answer
_USUAL = 50


def listed(audit: AuditLog, auditor: Auditor, query: dict[str, str], now: float) -> dict[str, Any]:
    """The answer to ``/audit``. query: ``since until`` (seconds since 1970) ``user action target limit cursor``. Raises Refusal."""
    try:
        since, until = float(query.get("since") or 0.0), float(query.get("until") or 0.0)
        limit, cursor = int(query.get("limit") or _USUAL), int(query.get("cursor") or 0)
    except ValueError:
        raise Refusal(400, "`since` and `until` are seconds since 1970, `limit` and `cursor` whole numbers") from None
    if not 1 <= limit <= MOST:
        raise Refusal(400, f"`limit` is between 1 and {MOST}")
    words = {name: query.get(name, "") for name in ("user", "action", "target")}
    try:
        rows, following = auditor.read(page, audit, words, since, until, limit, cursor)
    except AuditError as error:
        return {"ok": False, "problems": [str(error)], "candidates": []}
    return {"ok": True, "now": now, "rows": rows, "cursor": following}


def page(
    audit: AuditLog, words: dict[str, str], since: float, until: float, limit: int, cursor: int
) -> tuple[list[Row], int | None]:
    """The newest rows that fit, and the cursor for those before them, None if there are none. In a thread. Raises AuditError.

    words:  ``user action target``, each "" or the beginning of what the row has
    cursor: of the page before, 0: the newest rows
    """
    found: list[Row] = []
    for row in audit.rows(cursor):
        if since and row["when"] < since:
            break
        if (until and row["when"] >= until) or not all(row[name].startswith(word) for name, word in words.items()):
            continue
        if len(found) == limit:
            return found, found[-1]["seq"]
        found.append(row)
    return found, None


def verdict(audit: AuditLog, auditor: Auditor, query: dict[str, str]) -> dict[str, Any]:
    """The answer to ``/audit/verify``. query: ``head``: "NUMBER:HASH" of a row, from elsewhere. Raises Refusal."""
    known = None
    if text := query.get("head", ""):
        number, colon, digits = text.partition(":")
        if not (colon and number.isdecimal() and len(digits) == 64):
            raise Refusal(400, "`head` is NUMBER:HASH, as the program's log has them")
        known = int(number), digits.lower()
    try:
        found = auditor.read(audit.verify, known)
    except AuditError as error:
        return {"ok": False, "problems": [str(error)], "candidates": []}
    if not found.problem:
        return {"ok": True, "rows": found.rows, "last": found.seq, "hash": found.hash}
    place = f"{audit.directory}/{found.place}: " if found.place else ""
    return {"ok": False, "problems": [f"{place}{found.problem}"], "candidates": []}
