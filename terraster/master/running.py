"""The configuration that runs: one object that the parts of the master share. The master and `Reloader` write it, the others read it."""

from __future__ import annotations

from typing import Any, Protocol

from terraster.config.snapshot import Snapshot

__all__ = ["Plan", "Running"]


class Plan(Protocol):
    """A compiled configuration. The master keeps it for its children, which inherit it over the fork."""

    def updated(self, change: Any) -> Plan:
        """The plan after a `Change`."""


class Running:
    """The configuration of one master.

    loaded:   as the file has it
    snapshot: as it runs: with operators' overrides, with the addresses of names, with slots
    plan:     compiled from ``snapshot``; set before the first fork
    """

    __slots__ = ("loaded", "snapshot", "plan")

    plan: Plan

    def __init__(self, loaded: Snapshot) -> None:
        self.loaded = self.snapshot = loaded

    def describe(self, workers: int) -> str:
        """One line for the service manager."""
        services = len(self.snapshot.services)
        return f"generation {self.snapshot.generation}, {workers} workers, {services} service{'s' * (services != 1)}"
