"""The files for TLS towards backends that a configuration names."""

from __future__ import annotations

from collections.abc import Iterator

from terraster.config.snapshot import Backend, Credentials, Snapshot

__all__ = ["credentials_of"]


def credentials_of(snapshot: Snapshot) -> Iterator[tuple[Backend, Credentials]]:
    """The credentials of all backends that name files."""
    for service in snapshot.services:
        for location in service.locations:
            for backend in location.backends:
                for credentials in {backend.credentials, backend.probe_credentials}:
                    if credentials.files():
                        yield backend, credentials
