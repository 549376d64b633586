"""The authorities that issue certificates of clients: read from their files, checked, and laid into each new configuration.

The files are looked at again from time to time, like those of certificates (`terraster.master.certificates`). A list of revoked
certificates (CRL) that ends soon is told in the log: once it has ended, OpenSSL refuses every client of its authority.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gevent

from terraster.certs.certificate import CertificateError
from terraster.certs.client_authorities import AuthorityFiles, read_authority_files
from terraster.certs.files import Signature, signature
from terraster.certs.libssl import refusal
from terraster.config.client_auth import Authorities as Read
from terraster.config.snapshot import Service
from terraster.errors import StartError
from terraster.logs.program import ProgramLog
from terraster.net.yielding import yield_to_loop
from terraster.policy.expiry import state

from .agenda import Agenda, Entry
from .participant import Participant, Proposal

__all__ = ["Authorities"]


class Authorities(Participant):
    """The authorities that were read last, by their files.

    Files that were good once and are not now, because they are being written, do not keep a configuration from being run: what was read
    before stays in use, with a warning.

    log:     a line for files that changed, or that cannot be used, and for a CRL that ends
    changed: puts what is new into effect; may wait
    wall:    time.time
    is_looking: True while files are looked at
    """

    name = "authorities"

    def __init__(self, log: ProgramLog, agenda: Agenda, changed: Callable[[], bool], wall: Callable[[], float] = time.time) -> None:
        self._log = log
        self._agenda = agenda
        self._changed = changed
        self._wall = wall
        self._known: dict[AuthorityFiles, tuple[Signature, Read]] = {}
        self._used: set[AuthorityFiles] = set()
        self._made: dict[str, tuple[Service, Service]] = {}  # as given, and with its authorities
        self._broken: dict[AuthorityFiles, str] = {}  # why, as it was said last
        self._told: dict[AuthorityFiles, tuple[float, str]] = {}  # end of the CRL, and its state as it was said last
        self._interval = self._threshold = 0.0
        self._next: Entry | None = None  # the next look
        self.is_looking = False
        self._pending = False  # news that did not come into effect

    def prepare(self, new: Proposal) -> None:
        snapshot = new.snapshot
        if any(service.tls is not None and service.tls.client_auth is not None for service in snapshot.services):
            new.snapshot = replace(snapshot, services=tuple([self._filled(service) for service in snapshot.services]))

    def rollback(self) -> None:
        self._pending = True  # what was read now is not in effect: the next look brings it there

    def commit(self, new: Proposal) -> None:
        services = {service.name: service for service in new.snapshot.services}
        self._used = {files for service in services.values() if (files := _files(service))}
        self._known = {files: found for files, found in self._known.items() if files in self._used}
        self._broken = {files: why for files, why in self._broken.items() if files in self._used}
        self._told = {files: told for files, told in self._told.items() if files in self._used}
        self._made = {name: made for name, made in self._made.items() if name in services}
        self._threshold = new.snapshot.certificate_threshold
        if self._interval != new.snapshot.certificate_check:
            self._interval = new.snapshot.certificate_check
            if self._next is not None:
                self._next.cancel()
                self._next = None
        self._tell_ends()
        self._plan()

    def detail(self) -> Any:
        if not self._used:
            return None
        return [{"files": list(files), "problem": self._broken.get(files)} for files in sorted(self._used)]

    def _plan(self) -> None:
        if self._used and self._next is None and not self.is_looking:
            self._next = self._agenda.after(self._interval, gevent.spawn, self._look)

    def _look(self) -> None:
        """Have changed files read, if there are any, and look again later. In a greenlet of its own."""
        self._next, self.is_looking = None, True
        try:
            if self._has_news() or self._pending:
                self._pending = not self._changed()
            self._tell_ends()
        finally:
            self.is_looking = False
            self._plan()

    def _has_news(self) -> bool:
        for files in sorted(self._used):
            yield_to_loop()
            if files in self._used and self._read(files)[1]:
                return True
        return False

    def _filled(self, service: Service) -> Service:
        """The service with its authorities. Raises StartError for files that cannot be used and never could. Yields."""
        files = _files(service)
        if not files:
            return service
        yield_to_loop()
        assert service.tls is not None and service.tls.client_auth is not None
        if service.tls.client_auth.verify_depth is not None and (why := refusal()):
            raise StartError(f"service {service.name}: `verify_depth` cannot be set in this Python: {why}")
        found = self._read(files)[0]
        if found is None:
            raise StartError(f"service {service.name}: {self._broken[files]}")
        given, filled = self._made.get(service.name, (None, service))
        if given is not service or _authorities(filled) != found:
            client_auth = replace(service.tls.client_auth, authorities=found)
            filled = replace(service, tls=replace(service.tls, client_auth=client_auth))
            self._made[service.name] = service, filled
        return filled

    def _read(self, files: AuthorityFiles) -> tuple[Read | None, bool]:
        """The content of files, read again if they changed; the content from before if they are at fault; None if there was none. And
        True if it is another one than before."""
        before = self._known.get(files)
        try:
            now = signature(files)
            if before is not None and before[0] == now:
                self._broken.pop(files, None)
                return before[1], False
            found = read_authority_files(files)
            if signature(files) != now:
                raise CertificateError(f"client certificates, {' with '.join(files)}: the files are being written")
        except OSError as error:
            return self._fault(files, f"client certificates: cannot read {error.filename}: {error.strerror}")
        except CertificateError as error:
            return self._fault(files, str(error))
        self._broken.pop(files, None)
        self._known[files] = now, found
        if before is None:
            return found, True
        if before[1] != found:
            self._log.info("client certificates, %s: changed; sessions from before are not resumed", " with ".join(files))
        return found, before[1] != found

    def _fault(self, files: AuthorityFiles, why: str) -> tuple[Read | None, bool]:
        before = self._known.get(files)
        if before is not None and self._broken.get(files) != why:
            self._log.warning("%s; what was read before stays in use", why)
        self._broken[files] = why
        return None if before is None else before[1], False

    def _tell_ends(self) -> None:
        """Warn of lists that end soon or have ended, once for each."""
        now = self._wall()
        for files in sorted(self._used):
            one = self._known[files][1]
            if not one.crl_until:
                continue
            is_now = state(one.crl_begun, one.crl_until, self._threshold, now)
            if self._told.get(files) == (one.crl_until, is_now):
                continue
            self._told[files] = one.crl_until, is_now
            until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(one.crl_until))
            if is_now == "expiring":
                self._log.warning("crl_file %s ends at %s; from then on clients with certificates are refused", files[1], until)
            elif is_now == "expired":
                self._log.warning(
                    "crl_file %s ended at %s; clients with certificates are refused until it is renewed", files[1], until
                )


def _files(service: Service) -> AuthorityFiles:
    return () if service.tls is None or service.tls.client_auth is None else service.tls.client_auth.files


def _authorities(service: Service) -> Read | None:
    return None if service.tls is None or service.tls.client_auth is None else service.tls.client_auth.authorities
