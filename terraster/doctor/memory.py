"""Memory of the host."""

from __future__ import annotations

from collections.abc import Iterator

from .finding import Finding
from .proc import Proc

__all__ = ["check"]

_SHARE, _LEAST = 0.05, 64 << 10  # of all memory; KiB
_STRICT = 2  # vm.overcommit_memory


def check(proc: Proc) -> Iterator[Finding]:
    info = proc.named("meminfo")
    total, free = info.get("MemTotal", 0), info.get("MemAvailable")
    if free is not None and total and free < max(_SHARE * total, _LEAST):
        yield Finding(
            "memory",
            "warning",
            f"{free >> 10} MiB of {total >> 10} MiB of memory are free.",
            "When none is left, the kernel kills a process, perhaps a worker with all of its connections.",
            "See which process takes it (`ps aux --sort=-rss`); bound it, or add memory.",
        )
    if proc.number("sys/vm/overcommit_memory") == _STRICT:
        left = info.get("CommitLimit", 0) - info.get("Committed_AS", 0)
        yield Finding(
            "memory",
            "warning" if left < _SHARE * total else "note",
            f"The kernel grants no more memory than it has (`vm.overcommit_memory=2`); {max(0, left) >> 10} MiB can still be promised.",
            "A new worker is a fork, and needs a promise for all that its master has. Without one, a worker that died is not replaced.",
            "sysctl -w vm.overcommit_memory=0, or raise `vm.overcommit_ratio`.",
        )
    if kills := proc.named("vmstat").get("oom_kill", 0):
        yield Finding(
            "memory",
            "note",
            f"The kernel has killed {kills} process{'es' * (kills > 1)} for lack of memory since it started.",
            "It may have been a worker: `terrasterctl events` has the ends of workers.",
            "journalctl -k | grep -i 'out of memory' says which ones.",
        )
