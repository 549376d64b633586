"""CPU time and memory of a tree of processes, read from /proc.

The kernel reports user and system time in ticks (usually 10 ms) but keeps their sum to the nanosecond. So over some seconds of load the sum
is exact to a fraction of a percent. The split between the two is a sample.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cpu_seconds", "members", "memory"]

TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command name, or None if the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def members(root: int) -> list[int]:
    """The process and all its living descendants."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))) is not None:
            parents[int(entry)] = int(fields[1])
    found = [root]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found


def cpu_seconds(root: int) -> tuple[float, float]:
    """User and system time of the tree: all living processes, and the ended children that they have reaped."""
    user = system = 0
    for pid in members(root):
        if (fields := _stat(pid)) is not None:
            user += int(fields[11]) + int(fields[13])
            system += int(fields[12]) + int(fields[14])
    return user / TICK, system / TICK


def memory(root: int) -> tuple[int, int]:
    """(RSS, PSS) of the tree in octets. RSS counts a page for each process that has it, PSS divides it among them."""
    rss = pss = 0
    for pid in members(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for line in lines:
            name, _, value = line.partition(":")
            if name == "Rss":
                rss += int(value.split()[0]) * 1024
            elif name == "Pss":
                pss += int(value.split()[0]) * 1024
    return rss, pss
