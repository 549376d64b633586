"""The authorities of clients' certificates as the status has them: lists of revoked certificates (CRL) that end, and files at fault.

Pure: the running configuration and the master's answer go in, plain JSON values come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..config.snapshot import Snapshot
from ..policy.expiry import state

__all__ = ["rows"]


def rows(snapshot: Snapshot, watched: Iterable[Mapping[str, Any]] = (), now: float = 0.0) -> list[dict[str, Any]]:
    """A row for each service that asks clients for certificates. ``expires`` is the end of its list of revoked certificates, of several that
    of the first; 0.0 if none ends.

    watched: what the master says of the files: ``files problem``
    """
    broken = {tuple(one["files"]): one["problem"] for one in watched if one["problem"]}
    found = []
    for service in snapshot.services:
        asked = None if service.tls is None else service.tls.client_auth
        if asked is None or asked.authorities is None:
            continue
        begun, until = asked.authorities.crl_begun, asked.authorities.crl_until
        found.append(
            {
                "service": service.name,
                "file": asked.crl_file,
                "expires": until,
                "state": state(begun, until, snapshot.certificate_threshold, now) if until else "valid",
                "problem": broken.get(asked.files, ""),
            }
        )
    return found
