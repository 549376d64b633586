"""Measures what overloads one worker, for the gates of `shed`. Where no location has one, nothing is measured.

The lag of the loop is the time from a sweep to a timer that is due at once: everything that was ready before it comes first, so it is one turn
of the loop. How late the sweep itself is would say less: it is due at any moment of a turn, so that it may be in time however long turns are.
libev waits 1 ms at least for a timer (ev.c, backend_mintime), so an idle loop has a lag of 1 ms.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from terraster.net.reactor import Reactor
from terraster.policy.overload import Gate, Gates, LeastLag

from .cgroup import Cgroup
from .quiet import QUIET, Quiet

__all__ = ["LOOK", "Overload"]

LOOK = 1.0
"""Seconds between two looks at the memory; each takes some 20 µs."""

_BEGINS = "new requests are refused"
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Overload:
    """The measure of one worker.

    warn: called with one line of text when requests begin to be refused. memory: tells how many octets the process has. cgroup: the process's,
    None until it is needed
    """

    __slots__ = ("cgroup", "memory", "warn", "_asked", "_gates", "_least", "_looks_at", "_quiet", "_reactor", "_timer")

    def __init__(self, reactor: Reactor, gates: Gates) -> None:
        self.warn: Callable[[str], object] = _nobody
        self.memory: Callable[[], int] = resident
        self.cgroup: Cgroup | None = None
        self._gates = gates
        self._reactor = reactor
        self._least = LeastLag()
        self._quiet = Quiet(reactor.clock)
        self._asked = 0.0
        self._looks_at = 0.0
        self._timer = reactor.loop.timer(0.0)

    def sweep(self, now: float) -> None:
        """Measure, if a gate needs it. Called a few times a second, on the hub."""
        gates = self._gates
        if gates.by_lag and not self._timer.active:
            reactor = self._reactor
            self._timer.close()
            reactor.loop.update_now()
            self._timer = reactor.loop.timer(0.0)
            self._asked = reactor.clock()
            self._timer.start(self._turned)
        if (gates.by_memory or gates.by_share) and now >= self._looks_at:
            self._looks_at = now + LOOK
            if gates.by_share:
                self._look_at_cgroup()
            octets = self.memory() if gates.by_memory else 0
            for limit, gate in gates.by_memory.items():
                before = gate.share
                gate.judge(octets)
                self._tell("memory", gate, before, f"the worker has {octets >> 20} MiB, near or above memory: {limit >> 20} MiB")
        for (key, what), more in self._quiet.over(now):
            self.warn(f"shed: {what}, because of {key}: {more} times more within {QUIET:g} s")

    def _look_at_cgroup(self) -> None:
        if self.cgroup is None:
            self.cgroup = Cgroup()
            if not self.cgroup.is_limited():
                self.warn(
                    "shed: memory in percent has no effect: the cgroup of this process has no limit of memory (cgroup v2, memory.max)"
                )
        used = self.cgroup.used()
        for limit, gate in self._gates.by_share.items():
            before = gate.share
            gate.judge(used)
            self._tell("memory", gate, before, f"the cgroup uses {used:.0%} of its memory, near or above memory: {limit:.0%}")

    def _turned(self) -> None:
        """The loop has turned once."""
        now = self._reactor.clock()
        lag = self._least.add(now - self._asked, now)
        if lag is None:
            return
        for limit, gate in self._gates.by_lag.items():
            before = gate.share
            gate.judge(lag)
            self._tell(
                "loop_lag", gate, before, f"a turn of the loop takes {lag * 1000:.0f} ms, more than loop_lag: {limit * 1000:g} ms"
            )

    def _tell(self, key: str, gate: Gate, before: float, why: str) -> None:
        """Tell the log if a gate begins to refuse."""
        if gate.share and not before and self._quiet.says((key, _BEGINS)):
            self.warn(f"shed: {_BEGINS}: {why}")


def resident() -> int:
    """The resident memory of this process in octets (proc(5), statm)."""
    with open("/proc/self/statm", "rb", buffering=0) as stream:
        return int(stream.read(200).split()[1]) * _PAGE


def _nobody(line: str) -> None:
    """Where nobody reads the log."""
