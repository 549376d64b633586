"""The audit log as terrasterctl and the API read it: a page of rows, and the verdict on the chain."""

from __future__ import annotations

import time
from typing import Any

from terraster.audit.log import AuditError

from .auditor import Auditor
from .site import Handler, Refusal, Response, json_response

__all__ = ["MOST", "listed", "routes", "verdict"]

MOST = 1000  # rows in one answer
_USUAL = 50


def routes(auditor: Auditor) -> dict[str, dict[str, Handler]]:
    """The routes of the control socket."""

    def rows(query: dict[str, str]) -> Response:
        return json_response(listed(auditor, query, time.time()))

    def verify(query: dict[str, str]) -> Response:
        return json_response(verdict(auditor, query))

    return {"/audit": {"GET": rows}, "/audit/verify": {"GET": verify}}


def listed(auditor: Auditor, query: dict[str, str], now: float) -> dict[str, Any]:
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
        rows, following = auditor.page(words, since, until, limit, cursor)
    except AuditError as error:
        return {"ok": False, "problems": [str(error)], "candidates": []}
    return {"ok": True, "now": now, "rows": rows, "cursor": following}


def verdict(auditor: Auditor, query: dict[str, str]) -> dict[str, Any]:
    """The answer to ``/audit/verify``. query: ``head``: "NUMBER:HASH" of a row, from elsewhere. Raises Refusal."""
    known = None
    if text := query.get("head", ""):
        number, colon, digits = text.partition(":")
        if not (colon and number.isdecimal() and len(digits) == 64):
            raise Refusal(400, "`head` is NUMBER:HASH, as the program's log has them")
        known = int(number), digits.lower()
    try:
        found = auditor.verdict(known)
    except AuditError as error:
        return {"ok": False, "problems": [str(error)], "candidates": []}
    if not found.problem:
        return {"ok": True, "rows": found.rows, "last": found.seq, "hash": found.hash}
    place = f"{found.place}: " if found.place else ""
    return {"ok": False, "problems": [f"{place}{found.problem}"], "candidates": []}
