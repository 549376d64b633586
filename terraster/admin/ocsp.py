"""OCSP responses of `tls.ocsp: fetch`: which one is due, and what comes of it. In the admin worker.

`terraster.policy.stapling` decides when. A response that is verified is written into a file, and the master takes it as it takes every file
that changed.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gevent.pool import Pool

from ..certs.ocsp import MOST, OcspError, Question, Revoked, question, verify
from ..certs.ocsp_file import kept_file, kept_folder
from ..config.settings.ocsp import FETCH
from ..config.snapshot import Certificate, Snapshot
from ..policy.stapling import Fetched, next_fetch
from . import responder
from .gatherer import LONGEST, Ask, Gatherer

__all__ = ["Fetcher"]

_TOGETHER = 4  # responders that are asked at the same time


class Fetcher(Gatherer):
    """Fetches the responses for the certificates of the running configuration.

    get: as `terraster.admin.responder.ask`

    ``problems`` are by the certificate's fingerprint.
    """

    verb = "staples"
    word = "OCSP response"
    most = MOST

    def __init__(
        self,
        running: Callable[[], Snapshot],
        tell: Ask,
        log: Any,
        get: Callable[[Question], bytes] = responder.ask,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(running, tell, log, wall)
        self._get = get
        self._known: dict[str, Fetched] = {}
        self._state_dir = ""

    def turn(self) -> float:
        snapshot = self._running()
        wanted = _wanted(snapshot)
        self._known = {fingerprint: known for fingerprint, known in self._known.items() if fingerprint in wanted}
        self.problems = {fingerprint: why for fingerprint, why in self.problems.items() if fingerprint in wanted}
        if not wanted:
            return LONGEST
        self._state_dir = snapshot.state_dir
        files = frozenset([kept_file(self._state_dir, certificate) for certificate, _ in wanted.values()])
        self._tidy(kept_folder(self._state_dir), files)
        for fingerprint, (certificate, _) in wanted.items():
            if fingerprint not in self._known:
                self._known[fingerprint] = self._read(certificate)
        now = self._wall()
        pool = Pool(_TOGETHER)
        for certificate, name in wanted.values():
            if next_fetch(self._known[certificate.fingerprint], now) <= now:
                pool.spawn(self._fetch, certificate, name)
        pool.join()
        if not self._give():
            return LONGEST
        return min(next_fetch(known, self._wall()) for known in self._known.values()) - self._wall()

    def _fetch(self, certificate: Certificate, name: str) -> None:
        fingerprint = certificate.fingerprint
        before = self._known[fingerprint]
        try:
            octets = self._get(question(certificate))
            known = _facts(certificate, octets, self._wall())
            if known.next_update >= before.next_update:
                self._keep(kept_file(self._state_dir, certificate), octets)
            else:
                known = replace(known, this_update=before.this_update, next_update=before.next_update)  # of a cache that is behind
        except OcspError as error:
            self._failed(certificate, name, str(error))
            return
        except OSError as error:
            self._failed(certificate, name, f"it cannot be kept: {error.filename}: {error.strerror}")
            return
        except Exception as error:
            self._log.exception("certificate %s: the OCSP response cannot be fetched", name)
            self._failed(certificate, name, f"{type(error).__name__}: {error}")
            return
        self._known[fingerprint] = known
        if self.problems.pop(fingerprint, ""):
            self._log.info("certificate %s: an OCSP response was fetched again", name)

    def _failed(self, certificate: Certificate, name: str, why: str) -> None:
        """Note a failure. The log has each reason once."""
        fingerprint = certificate.fingerprint
        before = self._known[fingerprint]
        known = replace(before, failures=before.failures + 1, failed_at=self._wall(), chance=random.random())
        self._known[fingerprint] = known
        if self.problems.get(fingerprint) != why:
            self.problems[fingerprint] = why
            at = _moment(next_fetch(known, self._wall()))
            self._log.warning("certificate %s: no OCSP response was fetched: %s; tried again at %s", name, why, at)

    def _read(self, certificate: Certificate) -> Fetched:
        """The facts about the response that is kept for a certificate."""
        file = kept_file(self._state_dir, certificate)
        try:
            octets, came = self._kept(file), os.stat(file).st_mtime
            return replace(_facts(certificate, octets, self._wall()), fetched_at=came)
        except (OSError, OcspError):
            return Fetched(chance=random.random())


def _wanted(snapshot: Snapshot) -> dict[str, tuple[Certificate, str]]:
    """The certificates that need a response, by fingerprint, with the name of a service that has it."""
    return {
        one.fingerprint: (one, service.name)
        for service in snapshot.services
        if service.tls is not None and service.tls.ocsp == FETCH
        for one in service.tls.certificates
    }


def _facts(certificate: Certificate, octets: bytes, now: float) -> Fetched:
    """The facts about a response that came now. Raises `OcspError` for one that clients cannot use. That the certificate is revoked is an
    answer too: the master has to know."""
    try:
        found = verify(certificate, octets, now)
    except Revoked as revoked:
        return Fetched(revoked.begin, revoked.end, now, chance=random.random())
    return Fetched(found.this_update, found.next_update, now, chance=random.random())


def _moment(at: float) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(at))
