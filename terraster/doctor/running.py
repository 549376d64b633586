"""The running Terraster: it does not answer, or does not have the configuration of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from terraster.policy.expiry import span

from .finding import Finding

__all__ = ["check"]

_TOLD = ("reload-failed", "descriptors")
"""Kinds of problems that other findings tell."""
_STATES = {"backend-down": " is down", "backend-ejected": " is ejected"}
"""Kinds of problems whose text is only the reason, and what has happened."""


def check(status: Mapping[str, Any] | None, pid: int, why: str, now: float) -> Iterator[Finding]:
    """status: the document of `terrasterctl status`, None: there is none, because of why. pid: of the master, 0: it does not run"""
    if not pid:
        yield Finding(
            "running",
            "note",
            "Terraster is not running; files, host and names are checked without it.",
            "Its descriptors, its last reload and its problems are not known.",
            "Start it, then ask again.",
        )
        return
    if status is None:
        yield Finding(
            "running",
            "problem",
            f"Terraster runs (pid {pid}), but its admin worker does not answer: {why}.",
            "Traffic goes on, but nobody can see or change it.",
            "See Terraster's log; the master starts a new admin worker by itself within a second.",
        )
        return
    last = status.get("last_reload")
    if last is not None and not last["ok"]:
        yield Finding(
            "reload",
            "warning",
            f"The last reload, {span(max(0.0, now - last['when']))} ago, was refused: {'; '.join(last['problems'][:3])}.",
            f"Generation {last['generation']} from before still runs, and later changes of the file are not in effect.",
            "Repair the file, check it with `terraster --check`, and reload.",
        )
    for problem in status.get("problems", ()):
        if problem["kind"] in _TOLD:
            continue
        where = f"{problem.get('service') or ''}{problem.get('location') or ''}"
        backend = problem.get("backend") or ""
        if backend:
            backend += _STATES.get(problem["kind"], "")
        yield Finding(
            "status",
            "warning",
            f"{': '.join(part for part in (where, backend, problem['text']) if part)}.",
            "`terrasterctl status` names it as a problem.",
            f"See `terrasterctl why {problem['backend']}`." if backend else "See `terrasterctl status` and docs/operations.md.",
        )
