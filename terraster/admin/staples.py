"""The OCSP responses of certificates as the status has them.

Pure: the running configuration and the answers of master and admin worker go in, plain JSON values come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..certs.naming import named
from ..config.snapshot import Certificate, Service, Snapshot

__all__ = ["Rows", "ends"]


class Rows:
    """The facts about responses in the rows of certificates.

    stapled:   what the master says: ``service fingerprint until revoked problem``
    unfetched: why a response could not be fetched, by fingerprint
    now:       time.time()
    """

    def __init__(self, stapled: Iterable[Mapping[str, Any]], unfetched: Mapping[str, str], now: float) -> None:
        self._known = {(one["service"], one["fingerprint"]): one for one in stapled}
        self._unfetched = unfetched
        self._now = now

    def row(self, service: Service, certificate: Certificate) -> dict[str, Any]:
        """``ocsp``: "off", "good" (clients get it), "none", "expired" or "revoked"; ``ocsp_until``: the end of the response; ``ocsp_problem``:
        why there is none, or no newer one."""
        known = self._known.get((service.name, certificate.fingerprint), {})
        until = known.get("until")
        problem = known.get("problem") or ""
        if service.tls is not None and service.tls.ocsp == "fetch" and not problem:
            problem = self._unfetched.get(certificate.fingerprint, "")
        state = "none" if until is None else "good" if self._now < until else "expired"
        if service.tls is None or not service.tls.ocsp:
            state = "off"
        elif known.get("revoked"):
            state = "revoked"
        return {"ocsp": state, "ocsp_until": until, "ocsp_problem": problem, "must_staple": certificate.must_staple}


def ends(snapshot: Snapshot) -> Iterator[tuple[str, float]]:
    """The end of each response that there is, with the name of its certificate."""
    known = {
        (service.name, one.fingerprint): one.next_update
        for service in snapshot.services
        if service.tls is not None
        for one in service.tls.staples
    }
    if known:
        for name, service, certificate in named(snapshot):
            if (service.name, certificate.fingerprint) in known:
                yield name, known[service.name, certificate.fingerprint]
