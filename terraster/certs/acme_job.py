"""The job of a process that talks to an authority."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Job"]


@dataclass(frozen=True, slots=True)
class Job:
    """names: of the certificate to be obtained for ``service``; none: ask when those of ``services`` are to be renewed."""

    folder: str
    directory: str
    service: str = ""
    names: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    challenge: str = "http-01"
    key_type: str = "ec256"
    email: str = ""
    ca_file: str = ""
    dns_hook: str = ""
    eab_kid: str = ""
    eab_key: str = ""
