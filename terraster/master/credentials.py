"""The files for TLS towards backends (`ca_file`, `client_cert`): read, checked, and laid into each new configuration, for requests and
for health checks.

They are looked at again from time to time, as those of services are. New ones are taken without a reload: new connections use them, open
ones go on until they end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from terraster.certs.authorities import read_authorities
from terraster.certs.backend_files import credentials_of
from terraster.certs.files import Files, read_client_pair
from terraster.config.snapshot import Backend, Certificate, Credentials, Location, Service, Snapshot
from terraster.errors import StartError
from terraster.logs.program import ProgramLog

from .agenda import Agenda
from .participant import Proposal
from .watched_files import KeptFiles, WatchedFiles

__all__ = ["BackendCredentials"]

Made = TypeVar("Made")

_EFFECT = "new connections to backends use it"


class BackendCredentials(WatchedFiles):
    """The files that were read last.

    changed: puts new ones into effect; may wait. log: as for `KeptFiles`
    """

    name = "credentials"

    def __init__(self, log: ProgramLog, agenda: Agenda, changed: Callable[[], bool]) -> None:
        super().__init__(agenda, changed)
        self._authorities: KeptFiles[bytes] = KeptFiles(read_authorities, log, _EFFECT)
        self._certificates: KeptFiles[Certificate] = KeptFiles(read_client_pair, log, _EFFECT)
        self._made: dict[Credentials, Credentials] = {}  # without and with what the files hold
        self._services: dict[str, tuple[Service, Service]] = {}  # as given, and with it
        self._used: frozenset[Files] = frozenset()

    def prepare(self, new: Proposal) -> None:
        self._made = {}
        services = tuple(map(self._filled, new.snapshot.services))
        if any(one is not other for one, other in zip(services, new.snapshot.services, strict=True)):
            new.snapshot = replace(new.snapshot, services=services)

    def kept(self, new: Proposal) -> list[str]:
        lines = [self._authorities.kept(files) or self._certificates.kept(files) for files in _files(new.snapshot)]
        return [line for line in lines if line]

    def commit(self, new: Proposal) -> None:
        self._used = frozenset(_files(new.snapshot))
        self._authorities.forget(self._used)
        self._certificates.forget(self._used)
        kept = {service.name for service in new.snapshot.services}
        self._services = {name: made for name, made in self._services.items() if name in kept}
        super().commit(new)

    def has_files(self) -> bool:
        return bool(self._used)

    def has_news(self) -> bool:
        return any(self._has_changed(files) for files in list(self._used))

    def _has_changed(self, files: Files) -> bool:
        return self._authorities.get(files)[1] if len(files) == 1 else self._certificates.get(files)[1]

    def _filled(self, service: Service) -> Service:
        """The service with what the files of its backends hold; itself if they name none. Raises StartError for files that cannot be used
        and never could."""
        locations = tuple(map(self._of_location, service.locations))
        if all(one is other for one, other in zip(locations, service.locations, strict=True)):
            return service
        given, filled = self._services.get(service.name, (None, service))
        if given is not service or filled.locations != locations:
            filled = replace(service, locations=locations)
            self._services[service.name] = service, filled
        return filled

    def _of_location(self, location: Location) -> Location:
        if not any(backend.credentials.files() or backend.probe_credentials.files() for backend in location.backends):
            return location
        return replace(location, backends=tuple(map(self._of_backend, location.backends)))

    def _of_backend(self, backend: Backend) -> Backend:
        try:
            return replace(
                backend, credentials=self._of(backend.credentials), probe_credentials=self._of(backend.probe_credentials)
            )
        except StartError as error:
            raise StartError(f"backend {backend.display}: {error}") from None

    def _of(self, credentials: Credentials) -> Credentials:
        if not credentials.files():
            return credentials
        made = self._made.get(credentials)
        if made is None:
            made = credentials
            if credentials.ca_file:
                made = replace(made, authorities=self._value(self._authorities, (credentials.ca_file,)))
            if credentials.client_cert:
                made = replace(made, certificate=self._value(self._certificates, (credentials.client_cert, credentials.client_key)))
            self._made[credentials] = made
        return made

    @staticmethod
    def _value(kept: KeptFiles[Made], files: Files) -> Made:
        found = kept.get(files)[0]
        if found is None:
            raise StartError(kept.problem(files))
        return found


def _files(snapshot: Snapshot) -> dict[Files, None]:
    """The files of all backends, each once, in the order of the services."""
    return dict.fromkeys(files for _, credentials in credentials_of(snapshot) for files in credentials.files())
