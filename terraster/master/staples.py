"""The OCSP responses for the certificates of services: read from files, verified, and laid into each new configuration.

The files are those of the operator (`tls.ocsp: FILE`), or those that the admin worker writes when it has fetched a response
(`terraster.admin.ocsp`). They are looked at again from time to time, as those of certificates are. Nothing here keeps a configuration from
being run: without a response clients are served as before, and a warning says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from terraster.certs.naming import names
from terraster.certs.ocsp import Early, OcspError, Revoked, named_serials, read_response, serial_of, verify
from terraster.certs.ocsp_file import file_of, for_nobody
from terraster.certs.stapler import stapling_refusal
from terraster.config.settings.ocsp import FETCH
from terraster.config.snapshot import Certificate, Service, Snapshot, Staple
from terraster.logs.program import ProgramLog
from terraster.net.yielding import yield_to_loop

from .agenda import Agenda
from .participant import Proposal
from .watched_files import KeptFiles, WatchedFiles

__all__ = ["Staples"]

_TURN = 20  # certificates between two turns of the loop

Key = tuple[str, str]
"""A service's name, and the fingerprint of a certificate."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The state of one certificate. why: the response in the file is not used; "" if it is, or if there is none. begin: when it becomes
    valid, 0.0 = it will not"""

    staple: Staple | None = None
    why: str = ""
    revoked: bool = False
    begin: float = 0.0


@dataclass(frozen=True, slots=True)
class _Known:
    """A certificate that has a response, or should have one. file: of the operator, "" if responses are off or fetched"""

    name: str
    file: str
    fetched: bool
    must_staple: bool


class Staples(WatchedFiles):
    """The responses that were read last.

    A response that cannot be used does not replace one that is still valid, unless it says that the certificate is revoked.

    log:     a line for each file that changed, and for each certificate that has no response
    changed: puts new responses into effect; may wait
    wall:    time.time
    """

    name = "staples"

    def __init__(self, log: ProgramLog, agenda: Agenda, changed: Callable[[], bool], wall: Callable[[], float] = time.time) -> None:
        self._log = log
        super().__init__(agenda, changed)
        self._wall = wall
        self._kept: KeptFiles[bytes] = KeptFiles(read_response, log, "new connections get it if it is valid", "OCSP response")
        self._proposed: dict[Key, _Found] = {}
        self._found: dict[Key, _Found] = {}  # in effect
        self._read: dict[Key, _Found] = {}  # as the files say, which may change nothing that is in effect
        self._known: dict[Key, _Known] = {}
        self._files: set[tuple[str, ...]] = set()
        self._made: dict[str, tuple[Service, Service]] = {}  # as given, and with its responses
        self._told: dict[Key, str] = {}
        self._begin = 0.0  # when the first response that was too early becomes valid, 0.0 = there is none
        self._warned = False
        self._turns = 0

    def prepare(self, new: Proposal) -> None:
        self._proposed = {}
        if any(_concerns(service) for service in new.snapshot.services):
            services = tuple([self._filled(new.snapshot, service) for service in new.snapshot.services])
            new.snapshot = replace(new.snapshot, services=services)

    def rollback(self) -> None:
        super().rollback()
        self._look_at_reasons()  # a response that is not used changes nothing, so that there is no commit

    def commit(self, new: Proposal) -> None:
        self._found, self._known = self._proposed, {}
        files: set[tuple[str, ...]] = set()
        for service in new.snapshot.services:
            if service.tls is not None and _concerns(service):
                for name, one in zip(names(service), service.tls.certificates, strict=True):
                    if service.tls.ocsp or one.must_staple:
                        file, fetched = file_of(new.snapshot.state_dir, service.tls, one), service.tls.ocsp == FETCH
                        self._known[service.name, one.fingerprint] = _Known(name, "" if fetched else file, fetched, one.must_staple)
                        files.update([(file,)] if file else [])
        self._files = files
        self._kept.forget(self._files)
        self._read = {key: found for key, found in self._read.items() if key in self._known}
        self._told = {key: why for key, why in self._told.items() if key in self._known}
        if len(self._made) > len(new.snapshot.services):
            kept = {service.name for service in new.snapshot.services}
            self._made = {name: made for name, made in self._made.items() if name in kept}
        if self._files and not self._warned and (why := stapling_refusal()):
            self._warned = True
            self._log.warning("clients get no OCSP responses, because they cannot be given to OpenSSL: %s", why)
        self._look_at_reasons()
        super().commit(new)

    def detail(self) -> Any:
        """A row for each certificate that has a response, or should have one: ``service fingerprint until revoked problem``."""
        if not self._known:
            return None
        refusal = stapling_refusal() if self._files else ""
        return [
            {
                "service": key[0],
                "fingerprint": key[1],
                "until": None if staple is None or refusal else staple.next_update,
                "revoked": staple is None and self._read.get(key, _Found()).revoked,
                "problem": refusal or self._why(key),
            }
            for key in self._known
            for staple in (self._staple(key),)
        ]

    def has_files(self) -> bool:
        return bool(self._files)

    def has_news(self) -> bool:
        if self._begin and self._wall() >= self._begin:
            return True
        for files in sorted(self._files):
            self._rest()
            if files in self._files and self._kept.get(files)[1]:
                return True
        self._tell()
        return False

    def _filled(self, snapshot: Snapshot, service: Service) -> Service:
        """The service with the responses for its certificates. Yields."""
        if service.tls is None or not service.tls.ocsp:
            return service
        staples = []
        for one in service.tls.certificates:
            self._rest()
            key = service.name, one.fingerprint
            found = self._proposed[key] = self._read[key] = self._look_for(snapshot, service, one)
            if found.staple is not None:
                staples.append(found.staple)
        given, filled = self._made.get(service.name, (None, service))
        if given is not service or filled.tls is None or filled.tls.staples != tuple(staples):
            filled = replace(service, tls=replace(service.tls, staples=tuple(staples)))
            self._made[service.name] = service, filled
        return filled

    def _look_for(self, snapshot: Snapshot, service: Service, certificate: Certificate) -> _Found:
        """Read and verify the response for a certificate."""
        assert service.tls is not None
        file = file_of(snapshot.state_dir, service.tls, certificate)
        octets = self._kept.get((file,))[0]
        if octets is None:
            return _Found()
        before = self._staple((service.name, certificate.fingerprint))
        if before is not None and before.response == octets:
            return _Found(before)
        try:
            if service.tls.ocsp != FETCH and serial_of(certificate) not in named_serials(octets):
                if why := for_nobody(service.tls.certificates, octets):
                    raise OcspError(why)
                return _Found()
            return _Found(verify(certificate, octets, self._wall()))
        except Revoked as error:
            return _Found(why=f"{file}: {error}", revoked=True)
        except OcspError as error:
            stays = before if before is not None and self._wall() < before.next_update else None
            return _Found(stays, f"{file}: {error}", begin=error.begin if isinstance(error, Early) else 0.0)

    def _tell(self) -> None:
        """A warning for each certificate that has no response, or no newer one, once for each reason."""
        now = self._wall()
        for key, known in self._known.items():
            staple = self._staple(key)
            is_sent = staple is not None and now < staple.next_update
            why = (
                self._read.get(key, _Found()).why if is_sent else self._why(key)
            )  # `KeptFiles` has reported a file that it cannot read
            words = _in_words(known, staple, why, now)
            if self._told.get(key, "") != words:
                self._told[key] = words
                if words:
                    self._log.warning("certificate %s: %s", known.name, words)

    def _look_at_reasons(self) -> None:
        self._begin = min([one.begin for one in self._read.values() if one.begin], default=0.0)
        self._tell()

    def _staple(self, key: Key) -> Staple | None:
        """The response that is in effect."""
        return self._found.get(key, _Found()).staple

    def _why(self, key: Key) -> str:
        """Why there is no response, or no newer one, as far as the file says. A response that was not fetched yet is not told here."""
        file = self._known[key].file
        return self._read.get(key, _Found()).why or (self._kept.problem((file,)) if file else "")

    def _rest(self) -> None:
        self._turns += 1
        if self._turns % _TURN == 0:
            yield_to_loop()


def _in_words(known: _Known, staple: Staple | None, why: str, now: float) -> str:
    """The words of a warning; "" for none."""
    if staple is not None and now < staple.next_update:
        return f"{why}; the OCSP response from before is sent until {_moment(staple.next_update)}" if why else ""
    if staple is not None:
        why = f"it expired at {_moment(staple.next_update)}" + (f" ({why})" if why else "")
    if known.must_staple:
        why = why or ("none was fetched yet" if known.fetched else "set `tls.ocsp`")
        return f"it wants an OCSP response (must-staple), so clients may refuse it, and there is none: {why}"
    return f"no OCSP response is sent: {why}" if why else ""


def _concerns(service: Service) -> bool:
    """True if the service sends responses, or has a certificate that wants one."""
    return service.tls is not None and bool(service.tls.ocsp or any(one.must_staple for one in service.tls.certificates))


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
