"""Mail before a certificate expires, as a value of a Snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Alerting"]


@dataclass(frozen=True, slots=True)
class Alerting:
    """Mail before a certificate expires."""

    host: str
    port: int
    sender: str
    password: str = field(repr=False)  # "" = no login
    receivers: tuple[str, ...] = ()
    starttls: Literal["required", "optional", "off"] = "required"
    ca_file: str = ""  # "" = the system's authorities
