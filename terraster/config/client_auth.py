"""Certificates that clients authenticate with, as a part of a `terraster.config.snapshot.Snapshot`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

__all__ = ["Authorities", "ClientAuth", "unread"]


@dataclass(frozen=True, slots=True)
class Authorities:
    """The issuers of clients' certificates, as the files had them when they were read and checked (`terraster.certs.client_authorities`)."""

    pem: bytes = field(repr=False)  # the authorities, then their lists of revoked certificates
    revokes: bool  # True if there are such lists
    crl_begun: float  # time.time() at which the list that ends first began, 0.0: none ends
    crl_until: float  # and at which it ends
    digest: str  # of `pem`: SHA-256, hex


@dataclass(frozen=True, slots=True)
class ClientAuth:
    """Certificates that clients authenticate with."""

    mode: Literal["request", "require"]  # request: a client may have none, but not an invalid one
    ca_file: str
    crl_file: str = ""
    verify_depth: int | None = None  # most certificates between a client's and `ca_file`; None: the library's limit
    authorities: Authorities | None = None  # of the files; filled by the master

    @property
    def files(self) -> tuple[str, ...]:
        """The files of its authorities."""
        return (self.ca_file, self.crl_file) if self.crl_file else (self.ca_file,)

    def admission(self) -> tuple[object, ...]:
        """The settings that decide which clients are admitted, with the content of the files."""
        return self.mode, self.verify_depth, "" if self.authorities is None else self.authorities.digest


def unread(asked: ClientAuth | None) -> ClientAuth | None:
    """The settings without the content of the files."""
    return None if asked is None else replace(asked, authorities=None)
