"""A finding: what is wrong, why it matters, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

__all__ = ["Finding", "Severity", "exit_code"]

Severity = Literal["problem", "warning", "note"]

_CODES: dict[str, int] = {"note": 0, "warning": 1, "problem": 2}


class Finding(NamedTuple):
    """One finding.

    check:    its kind, which stays the same: `descriptors`, `clock` …
    severity: problem: traffic fails, or will soon; warning: it will under load, or something is not as it should be; note: good to know
    what, reason, do: sentences for an operator: the fact, why it matters, a way out
    """

    check: str
    severity: Severity
    what: str
    reason: str
    do: str


def exit_code(findings: Iterable[Finding]) -> int:
    """0: nothing but notes; 1: warnings; 2: problems."""
    return max((_CODES[one.severity] for one in findings), default=0)
