"""The authority that certificates are obtained from, as a value of a Snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Acme"]


@dataclass(frozen=True, slots=True)
class Acme:
    """The authority that certificates are obtained from (RFC 8555). ``directory``: its URL; "" in other texts: not written."""

    directory: str
    email: str = ""
    ca_file: str = ""
    dns_hook: str = ""
    eab_kid: str = ""
    eab_key: str = field(default="", repr=False)
    key_type: str = "ec256"
    renew_before: float = 0.0  # seconds before its end; 0.0 = as the authority suggests
