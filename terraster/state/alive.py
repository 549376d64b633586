"""True names of processes: a pid is given again, a pid together with the time when its process began is not.

The time is counted by the kernel, in ticks since the boot (field 22 of ``/proc/PID/stat``, proc_pid_stat(5)).
"""

from __future__ import annotations

__all__ = ["began", "lives"]


def began(pid: int) -> int:
    """When a process began, in ticks since the boot. 0: there is no such process, or it has ended and nobody has collected it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def lives(pid: int, since: int) -> bool:
    """True if the process that had this pid and began then has not ended."""
    return pid > 0 and since > 0 and began(pid) == since
