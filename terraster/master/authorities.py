"""The authorities that issue certificates of clients: read from their files, checked, and laid into each new configuration.

The files are looked at again from time to time, like those of certificates (`terraster.master.certificates`). The admin worker tells
operators before a list of revoked certificates (CRL) ends (`terraster.admin.expiry_watch`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from terraster.certs.client_authorities import AuthorityFiles, read_authority_files
from terraster.certs.libssl import refusal
from terraster.config.client_auth import Authorities as Read
from terraster.config.snapshot import Service
from terraster.errors import StartError
from terraster.logs.program import ProgramLog
from terraster.net.yielding import yield_to_loop

from .agenda import Agenda
from .participant import Proposal
from .watched_files import KeptFiles, WatchedFiles

__all__ = ["Authorities"]


class Authorities(WatchedFiles):
    """The authorities that were read last, by their files.

    Files that were good once and are not now, because they are being written, do not keep a configuration from being run: what was read
    before stays in use, with a warning.

    log:     a line for files that changed, or that cannot be used
    changed: puts what is new into effect; may wait
    """

    name = "authorities"

    def __init__(self, log: ProgramLog, agenda: Agenda, changed: Callable[[], bool]) -> None:
        self._log = log
        super().__init__(agenda, changed)
        self._kept: KeptFiles[Read] = KeptFiles(
            read_authority_files, log, "sessions from before are not resumed", "client certificates"
        )
        self._used: set[AuthorityFiles] = set()
        self._made: dict[str, tuple[Service, Service]] = {}  # as given, and with its authorities

    def prepare(self, new: Proposal) -> None:
        snapshot = new.snapshot
        if any(service.tls is not None and service.tls.client_auth is not None for service in snapshot.services):
            new.snapshot = replace(snapshot, services=tuple([self._filled(service) for service in snapshot.services]))

    def kept(self, new: Proposal) -> list[str]:
        used = dict.fromkeys(_files(service) for service in new.snapshot.services)
        return [line for files in used if files and (line := self._kept.kept(files))]

    def commit(self, new: Proposal) -> None:
        services = {service.name: service for service in new.snapshot.services}
        self._used = {files for service in services.values() if (files := _files(service))}
        self._kept.forget(self._used)
        self._made = {name: made for name, made in self._made.items() if name in services}
        super().commit(new)

    def detail(self) -> Any:
        if not self._used:
            return None
        return [{"files": list(files), "problem": self._kept.problem(files) or None} for files in sorted(self._used)]

    def has_files(self) -> bool:
        return bool(self._used)

    def has_news(self) -> bool:
        for files in sorted(self._used):
            yield_to_loop()
            if files in self._used and self._kept.get(files)[1]:
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
        found = self._kept.get(files)[0]
        if found is None:
            raise StartError(f"service {service.name}: {self._kept.problem(files)}")
        given, filled = self._made.get(service.name, (None, service))
        if given is not service or _authorities(filled) != found:
            client_auth = replace(service.tls.client_auth, authorities=found)
            filled = replace(service, tls=replace(service.tls, client_auth=client_auth))
            self._made[service.name] = service, filled
        return filled


def _files(service: Service) -> AuthorityFiles:
    return () if service.tls is None or service.tls.client_auth is None else service.tls.client_auth.files


def _authorities(service: Service) -> Read | None:
    return None if service.tls is None or service.tls.client_auth is None else service.tls.client_auth.authorities
