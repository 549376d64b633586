"""File descriptors: what each process has open, and whether the limit is enough for the connections that the configuration allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terraster.config.snapshot import Snapshot
from terraster.policy.descriptors import aim, finite, most_clients

from .finding import Finding
from .proc import Process

__all__ = ["limits", "used"]

_FULL, _NEARLY = 0.95, 0.8
_OWN = 48  # descriptors of a worker beside listeners and clients: logs, channels, pipes
_FEW = 1000  # clients of a worker; fewer are seldom meant

_RAISE = (
    "Raise the hard limit: `LimitNOFILE=` of the systemd unit, `--ulimit nofile=` of a container, or `ulimit -Hn` of the shell; "
    "then restart."
)


def used(processes: Iterable[Process]) -> Iterator[Finding]:
    """Processes that have few descriptors left."""
    for one in processes:
        if one.open is None or not one.limit or one.open < _NEARLY * one.limit:
            continue
        yield Finding(
            "descriptors",
            "problem" if one.open >= _FULL * one.limit else "warning",
            f"{one.name} (pid {one.pid}) has {one.open} of {one.limit} file descriptors open.",
            "Each client and each connection to a backend takes one. When none is left, new clients wait.",
            _RAISE,
        )


def limits(snapshot: Snapshot, soft: int, hard: int) -> Iterator[Finding]:
    """The limit of a worker against `limits.connections`. soft, hard: of a running worker, or of this process; -1: none"""
    limit = finite(aim(soft, hard))
    room = most_clients(limit, _OWN + len(snapshot.listeners))
    wanted = snapshot.limits.connections
    if wanted > room:
        yield Finding(
            "descriptors",
            "warning",
            f"`limits.connections` lets a worker have {wanted} clients, but {limit} file descriptors are enough for {room}.",
            "Each client may need a connection to a backend as well. Beyond that, idle clients are disconnected and new ones wait.",
            f"{_RAISE} Or lower `limits.connections`.",
        )
    elif not wanted and room < _FEW:
        yield Finding(
            "descriptors",
            "warning",
            f"A process may have {limit} file descriptors: a worker takes {room} clients at most.",
            "Beyond that, idle clients are disconnected and new ones wait.",
            _RAISE,
        )
