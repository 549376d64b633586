"""OCSP responses of `tls.ocsp: fetch`: which one is due, and what comes of it. In the admin worker.

`terraster.policy.stapling` decides when. A response that is verified is written into a file, and the master takes it as it takes every file
that changed. So a restart has it at once, and nobody waits for a responder but the greenlets of this module.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gevent.event import Event
from gevent.pool import Pool

from ..certs.acme_store import write
from ..certs.ocsp import MOST, OcspError, Question, Revoked, question, verify
from ..certs.ocsp_file import kept_file, kept_folder
from ..config.settings.ocsp import FETCH
from ..config.snapshot import Certificate, Snapshot
from ..errors import TerrasterError
from ..policy.stapling import Fetched, next_fetch
from . import responder

__all__ = ["Fetcher"]

_TURN = 60.0  # seconds between two looks at the clock, which may be set
_TOGETHER = 4  # responders that are asked at the same time
_KEPT = 7 * 86400.0  # seconds for which a file stays that no service needs
_FILE = re.compile(r"[0-9a-f]{64}\.der")

Ask = Callable[..., dict[str, Any]]


class Fetcher:
    """Fetches the responses for the certificates of the running configuration.

    running: the configuration
    tell:    puts a question to the master; raises TerrasterError if it has gone
    log:     the program's log
    get:     as `terraster.admin.responder.ask`
    wall:    time.time

    ``problems``: why no response, or no newer one, could be fetched, by the certificate's fingerprint
    """

    def __init__(
        self,
        running: Callable[[], Snapshot],
        tell: Ask,
        log: Any,
        get: Callable[[Question], bytes] = responder.ask,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._running = running
        self._tell = tell
        self._log = log
        self._get = get
        self._wall = wall
        self._wake = Event()
        self._known: dict[str, Fetched] = {}
        self._news = False  # the master has not taken what was written
        self._folder = ""
        self.problems: dict[str, str] = {}

    def changed(self) -> None:
        """Another configuration runs."""
        self._wake.set()

    def run(self) -> None:
        """For ever, in a greenlet of its own."""
        while True:
            self._wake.clear()
            try:
                seconds = self.turn()
            except Exception:
                self._log.exception("OCSP responses cannot be fetched now")
                seconds = _TURN
            self._wake.wait(min(max(seconds, 0.05), _TURN))

    def turn(self) -> float:
        """Fetch what is due. Returns the seconds until the next turn. Waits for responders."""
        snapshot = self._running()
        wanted = _wanted(snapshot)
        self._known = {fingerprint: known for fingerprint, known in self._known.items() if fingerprint in wanted}
        self.problems = {fingerprint: why for fingerprint, why in self.problems.items() if fingerprint in wanted}
        if not wanted:
            return _TURN
        if snapshot.state_dir != self._folder:
            self._folder = snapshot.state_dir
            self._tidy(wanted)
        for fingerprint, (certificate, _) in wanted.items():
            if fingerprint not in self._known:
                self._known[fingerprint] = self._read(certificate)
        now = self._wall()
        pool = Pool(_TOGETHER)
        for certificate, name in wanted.values():
            if next_fetch(self._known[certificate.fingerprint], now) <= now:
                pool.spawn(self._fetch, certificate, name)
        pool.join()
        if self._news:
            try:
                self._news = not self._tell("staples")["ok"]
            except TerrasterError:
                return _TURN  # there is no master now; the next one reads the files
        return min(next_fetch(known, self._wall()) for known in self._known.values()) - self._wall()

    def _fetch(self, certificate: Certificate, name: str) -> None:
        fingerprint = certificate.fingerprint
        before = self._known[fingerprint]
        try:
            octets = self._get(question(certificate))
            known = _facts(certificate, octets, self._wall())
            if known.next_update >= before.next_update:
                self._keep(certificate, octets)
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

    def _keep(self, certificate: Certificate, octets: bytes) -> None:
        file = kept_file(self._folder, certificate)
        if _octets(file) != octets:
            write(file, octets)
            self._news = True

    def _read(self, certificate: Certificate) -> Fetched:
        """The facts about the response that is kept for a certificate."""
        file = kept_file(self._folder, certificate)
        try:
            octets, came = _octets(file), os.stat(file).st_mtime
            return replace(_facts(certificate, octets, self._wall()), fetched_at=came)
        except (OSError, OcspError):
            return Fetched(chance=random.random())

    def _tidy(self, wanted: dict[str, tuple[Certificate, str]]) -> None:
        """Remove the files of certificates that are long gone."""
        try:
            for entry in os.scandir(kept_folder(self._folder)):
                if _FILE.fullmatch(entry.name) and entry.name[:64] not in wanted and entry.stat().st_mtime < self._wall() - _KEPT:
                    os.unlink(entry.path)
        except FileNotFoundError:
            return
        except OSError as error:
            self._log.warning("cannot remove an old OCSP response: %s: %s", error.filename, error.strerror)


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


def _octets(file: str) -> bytes:
    """The octets of a file, b"" if it is not there. Raises OSError."""
    try:
        with open(file, "rb") as stream:
            return stream.read(MOST + 1)
    except FileNotFoundError:
        return b""


def _moment(at: float) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(at))
