"""The certificates of all services as the status has them, those that end soonest first.

Pure: the running configuration and the master's answer go in, plain JSON values come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..certs.naming import named
from ..config.snapshot import Snapshot
from ..policy.expiry import state
from . import staples

__all__ = ["rows"]

_DAY = 86400.0


def rows(
    snapshot: Snapshot,
    watched: Iterable[Mapping[str, Any]],
    now: float,
    stapled: Iterable[Mapping[str, Any]] = (),
    unfetched: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """A row for each certificate that is in use.

    watched: what the master says of the files: ``file problem``
    stapled, unfetched: what the master and the admin worker say of OCSP responses (`terraster.admin.staples`)
    """
    responses = staples.Rows(stapled, unfetched or {}, now)
    problems = {one["file"]: one["problem"] for one in watched if one["problem"]}
    found = [
        {
            "name": name,
            "service": service.name,
            "file": one.file,
            "names": list(one.names),
            "issuer": one.issuer,
            "kind": one.kind,
            "not_before": one.not_before,
            "expires": one.not_after,
            "days_left": max(0.0, round((one.not_after - now) / _DAY, 2)),
            "state": state(one.not_before, one.not_after, snapshot.certificate_threshold, now),
            "fingerprint": one.fingerprint,
            "problem": problems.get(one.file, ""),
            **responses.row(service, one),
        }
        for name, service, one in named(snapshot)
    ]
    return sorted(found, key=_urgency)


def _urgency(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["expires"], row["name"]
