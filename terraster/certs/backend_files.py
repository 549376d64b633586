"""The files for TLS towards backends that a configuration names."""

from __future__ import annotations

from collections.abc import Iterator

from terraster.config.snapshot import Backend, Credentials, Snapshot

from .authorities import read_authorities
from .certificate import CertificateError
from .files import Files, read_pair

__all__ = ["credential_problems", "credentials_of"]


def credential_problems(snapshot: Snapshot) -> list[str]:
    """The files that cannot be used, each once, for a check of a configuration."""
    found: dict[Files, str] = {}
    seen: set[Files] = set()
    for backend, credentials in credentials_of(snapshot):
        for files in credentials.files():
            if files in seen:
                continue
            seen.add(files)
            try:
                _ = read_authorities(files) if len(files) == 1 else read_pair(files)
            except CertificateError as error:
                found[files] = f"backend {backend.display}: {error}"
    return list(found.values())


def credentials_of(snapshot: Snapshot) -> Iterator[tuple[Backend, Credentials]]:
    """The credentials of all backends that name files."""
    for service in snapshot.services:
        for location in service.locations:
            for backend in location.backends:
                for credentials in {backend.credentials, backend.probe_credentials}:
                    if credentials.files():
                        yield backend, credentials
