"""The figures of a process, read from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["ProcessReading", "process"]


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """The kernel's figures for one process.

    cpu:         user and system CPU time, seconds
    resident:    resident memory, octets
    descriptors: open file descriptors
    limit:       the most that it may have open
    started:     seconds since 1970
    """

    cpu: float
    resident: int
    descriptors: int
    limit: int
    started: float


def process(pid: int) -> ProcessReading | None:
    """The figures of a process from /proc; None if the process has gone or may not be read."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            words = stream.read().rpartition(b")")[2].split()
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        limit = _limit(pid)
    except OSError:
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    return ProcessReading(
        (int(words[11]) + int(words[12])) / ticks,
        int(words[21]) * os.sysconf("SC_PAGESIZE"),
        descriptors,
        limit,
        _boot_time() + int(words[19]) / ticks,
    )


def _limit(pid: int) -> int:
    """The soft limit of open files of a process; 0 = unlimited. Raises OSError."""
    with open(f"/proc/{pid}/limits", "rb") as stream:
        for line in stream:
            if line.startswith(b"Max open files "):
                word = line.split()[3]
                return int(word) if word.isdigit() else 0
    return 0


def _boot_time() -> float:
    with open("/proc/stat", "rb") as stream:
        for line in stream:
            if line.startswith(b"btime "):
                return float(line.split()[1])
    return 0.0
