"""The certificates of all services: read from their files, checked, and laid into each new configuration.

The files are looked at again from time to time. New ones are taken without a reload of the configuration, under open connections.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gevent

from terraster.certs.certificate import CertificateError
from terraster.certs.files import Signature, read_files, signature
from terraster.config.snapshot import Certificate, Service, Snapshot
from terraster.errors import StartError
from terraster.logs.program import ProgramLog
from terraster.net.yielding import yield_to_loop

from .agenda import Agenda, Entry
from .participant import Participant, Proposal

__all__ = ["Certificates"]

_TURN = 20  # pairs of files between two turns of the loop: some 4 ms if they must be read

Files = tuple[str, str]


class Certificates(Participant):
    """The certificates that were read last, by their files (certificate, key).

    A pair that was good once and is not now, because it is being written, does not keep a configuration from being run: the good
    certificate stays in use, with a warning.

    log:     a line for each pair that changed, or that cannot be used
    changed: puts new certificates into effect; may wait
    """

    name = "certificates"

    def __init__(self, log: ProgramLog, agenda: Agenda, changed: Callable[[], bool]) -> None:
        self._log = log
        self._agenda = agenda
        self._changed = changed
        self._known: dict[Files, tuple[Signature, Certificate]] = {}
        self._used: dict[Files, list[str]] = {}  # with the names of the services
        self._made: dict[str, tuple[Service, Service]] = {}  # as given, and with its certificates
        self._broken: dict[Files, str] = {}  # why, as it was said last
        self._interval = 0.0
        self._looks = 0
        self._next: Entry | None = None  # the next look
        self._looking = False
        self._pending = False  # news that did not come into effect

    def prepare(self, new: Proposal) -> None:
        new.snapshot = self._fill(new.snapshot)

    def rollback(self) -> None:
        self._pending = True  # what was read now is not in effect: the next look brings it there

    def commit(self, new: Proposal) -> None:
        used: dict[Files, list[str]] = {}
        for service in new.snapshot.services:
            for files in service.tls.files if service.tls is not None else ():
                used.setdefault(files, []).append(service.name)
        self._used = used
        self._known = {files: found for files, found in self._known.items() if files in used}
        self._broken = {files: why for files, why in self._broken.items() if files in used}
        if self._interval != new.snapshot.certificate_check:
            self._interval = new.snapshot.certificate_check
            if self._next is not None:
                self._next.cancel()
                self._next = None
        self._plan()
        if len(self._made) > len(new.snapshot.services):
            kept = {service.name for service in new.snapshot.services}
            self._made = {name: made for name, made in self._made.items() if name in kept}

    def detail(self) -> Any:
        if not self._used:
            return None
        return [
            {
                "file": files[0],
                "services": names,
                "names": list(found.names),
                "kind": found.kind,
                "issuer": found.issuer,
                "not_before": found.not_before,
                "not_after": found.not_after,
                "fingerprint": found.fingerprint,
                "problem": self._broken.get(files),
            }
            for files, names in self._used.items()
            for found in (self._known[files][1],)
        ]

    def _plan(self) -> None:
        if self._used and self._next is None and not self._looking:
            self._next = self._agenda.after(self._interval, gevent.spawn, self._look)

    def _look(self) -> None:
        """Have changed files read, if there are any, and look again later. In a greenlet of its own."""
        self._next, self._looking = None, True
        try:
            if self._has_news() or self._pending:
                self._pending = not self._changed()
        finally:
            self._looking = False
            self._plan()

    def _has_news(self) -> bool:
        for files in list(self._used):
            self._rest()
            if files in self._used and self._read(files)[1]:
                return True
        return False

    def _fill(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the certificates of its services. Raises StartError for a pair that cannot be used and never could. Yields."""
        if all(service.tls is None for service in snapshot.services):
            return snapshot
        services = tuple(service if service.tls is None else self._filled(service) for service in snapshot.services)
        return replace(snapshot, services=services)

    def _filled(self, service: Service) -> Service:
        assert service.tls is not None
        certificates = []
        for files in service.tls.files:
            self._rest()
            found = self._read(files)[0]
            if found is None:
                raise StartError(f"service {service.name}: {self._broken[files]}")
            certificates.append(found)
        given, filled = self._made.get(service.name, (None, service))
        if given is not service or filled.tls is None or filled.tls.certificates != tuple(certificates):
            filled = replace(service, tls=replace(service.tls, certificates=tuple(certificates)))
            self._made[service.name] = service, filled
        return filled

    def _read(self, files: Files) -> tuple[Certificate | None, bool]:
        """The certificate of a pair, read again if the files changed; the one from before if they are at fault; None if there was none. And
        True if it is another one than before."""
        before = self._known.get(files)
        try:
            now = signature(files)
            if before is not None and before[0] == now:
                self._broken.pop(files, None)
                return before[1], False
            found = read_files(files)
            if signature(files) != now:
                raise CertificateError(f"{files[0]} or {files[1]} is being written")
        except OSError as error:
            return self._fault(files, f"cannot read {error.filename}: {error.strerror}")
        except CertificateError as error:
            return self._fault(files, str(error))
        self._broken.pop(files, None)
        self._known[files] = now, found
        if before is None:
            return found, True
        if before[1] != found:
            until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(found.not_after))
            self._log.info("certificate %s: changed; the new one is valid until %s", files[0], until)
        return found, before[1] != found

    def _fault(self, files: Files, why: str) -> tuple[Certificate | None, bool]:
        before = self._known.get(files)
        if before is not None and self._broken.get(files) != why:
            self._log.warning("%s; the certificate from before stays in use", why)
        self._broken[files] = why
        return None if before is None else before[1], False

    def _rest(self) -> None:
        self._looks += 1
        if self._looks % _TURN == 0:
            yield_to_loop()
