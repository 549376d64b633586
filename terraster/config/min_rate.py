"""The least rate of a client, as a frozen value of a Snapshot."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MinRate"]


@dataclass(frozen=True, slots=True)
class MinRate:
    """The least octets per second that a client has to send and to take while it is waited for, averaged over ``grace`` seconds; 0 = none."""

    incoming: int = 0
    outgoing: int = 0
    grace: float = 10.0
