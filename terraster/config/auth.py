"""The users of the management API, as a value of a Snapshot: where they are kept, and the rules of their passwords."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Auth"]


@dataclass(frozen=True, slots=True)
class Auth:
    """secret: signs access tokens, "" for one of this instance's own; never one that protects nothing.
    database: absolute file name. min_length: characters of a password. expiry_days: 0 for never. history: passwords that may not be used again.
    cleanup_interval: seconds"""

    secret: str = field(default="", repr=False)
    database: str = "/var/lib/terraster/auth.db"
    min_length: int = 12
    expiry_days: int = 0
    history: int = 5
    cleanup_interval: float = 3600.0
