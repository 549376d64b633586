"""The files of certificates, keys and authorities that a configuration names and that cannot be used: for a check, which reads all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from terraster.config.filter_sources import sources
from terraster.config.management import NAME, secured
from terraster.config.settings.kinds import Source
from terraster.config.snapshot import Snapshot

from .authorities import read_authorities
from .backend_files import credentials_of
from .certificate import CertificateError
from .client_authorities import read_authority_files
from .files import Files, read_client_pair, read_files, read_octets

__all__ = ["Fault", "fault_behind", "faults"]


class Fault(NamedTuple):
    """Files that cannot be used. key, file: the one that is at fault, and the key that names it; where: whose it is; words: why"""

    key: str
    file: str
    where: str
    words: str


def faults(snapshot: Snapshot) -> list[Fault]:
    """The faults of all files, each once. Reads them."""
    found = []
    seen: set[tuple[tuple[str, ...], Files]] = set()
    for where, keys, read, files in _named(snapshot):
        if (keys, files) in seen:
            continue
        seen.add((keys, files))
        try:
            read(files)
        except CertificateError as error:
            at = files.index(error.file) if error.file in files else 0
            found.append(Fault(keys[at], files[at], where, str(error)))
    return found


def fault_behind(snapshot: Snapshot, refusal: str) -> Fault | None:
    """The fault for which a start or a reload refused a configuration. None if the reason was another one, or if the file is good by now. Reads
    only the files of the service or backend that the refusal names.

    refusal: the words of the error
    """
    for where, keys, read, files in _named(snapshot):
        if refusal.startswith(f"{where}: "):
            try:
                read(files)
            except CertificateError as error:
                at = files.index(error.file) if error.file in files else 0
                if refusal == f"{where}: {error}":
                    return Fault(keys[at], files[at], where, str(error))
    return None


def _named(snapshot: Snapshot) -> Iterator[tuple[str, tuple[str, ...], Callable[[Files], object], Files]]:
    """Where files are named, by which keys, what reads them, and their names."""
    for service in secured(snapshot):
        if service.tls is not None:
            where = service.name if service.name == NAME else f"service {service.name}"
            for pair in service.tls.files:
                yield where, ("cert_file", "key_file"), _read_pair, pair
            if service.tls.client_auth is not None:
                yield where, ("ca_file", "crl_file"), read_authority_files, service.tls.client_auth.files
    for backend, credentials in credentials_of(snapshot):
        for files in credentials.files():
            where = f"backend {backend.display}"
            if len(files) == 1:
                yield where, ("ca_file",), read_authorities, files
            else:
                yield where, ("client_cert", "client_key"), read_client_pair, files
    for where, source in sources(snapshot):
        if source.fetch is None:
            yield where, (source.key,), _Checked(source), (source.name,)


class _Checked:
    """Reads and checks the file of a filter. Raises `CertificateError`."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __call__(self, files: Files) -> None:
        try:
            self._source.check(read_octets(files[0], self._source.largest))
        except ValueError as error:
            raise CertificateError(f"{files[0]}: {error}", files[0]) from None


def _read_pair(files: Files) -> object:
    certificate, key = files
    return read_files((certificate, key))
