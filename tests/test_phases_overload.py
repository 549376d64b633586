"""What a worker measures of its overload, and when."""

from __future__ import annotations

from pathlib import Path

import pytest

from terraster.net.reactor import Reactor
from terraster.phases.overload import Overload, resident
from terraster.policy.overload import Gates

from .playbook.world import Hub, Loop


class World:
    """A loop whose turns take as long as a test says."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.hub = Hub(self.loop)
        self.reactor = Reactor(self.hub, self.loop.clock)
        self.gates = Gates()
        self.overload = Overload(self.reactor, self.gates)
        self.said: list[str] = []
        self.overload.warn = self.said.append

    def turns(self, lag: float, count: int = 10) -> None:
        """Sweeps each 0.1 s, after which something holds the loop."""
        for _ in range(count):
            self.loop.now += 0.1
            self.overload.sweep(self.loop.now)
            self.loop.now += lag
            self.hub.settle()


def test_turns_that_are_all_too_long_are_refused_for_and_told_once() -> None:
    world = World()
    gate, lenient = world.gates.lag(0.05), world.gates.lag(5.0)
    world.turns(0.049)
    assert gate.share == 0.0
    world.turns(0.1)
    assert gate.share >= 0.5
    assert lenient.share == 0.0
    assert world.said == ["shed: new requests are refused: a turn of the loop takes 100 ms, more than loop_lag: 50 ms"]
    for _ in range(3):
        world.turns(0.0, 60)
        assert gate.share == 0.0
        world.turns(0.1)
    world.turns(0.0, 600)
    assert world.said[1:] == ["shed: new requests are refused, because of loop_lag: 3 times more within 60 s"]


def test_one_long_turn_among_short_ones_changes_nothing() -> None:
    world = World()
    gate = world.gates.lag(0.05)
    for _ in range(10):
        world.turns(0.001, 4)
        world.turns(3.0, 1)
        assert gate.share == 0.0


def test_memory_is_looked_at_once_a_second() -> None:
    world = World()
    gate = world.gates.memory(100 << 20)
    looks = []

    def memory() -> int:
        looks.append(world.loop.now)
        return 95 << 20

    world.overload.memory = memory
    world.turns(0.0, 35)
    assert len(looks) == 4
    assert gate.share == pytest.approx(0.5)
    assert world.said == ["shed: new requests are refused: the worker has 95 MiB, near or above memory: 100 MiB"]


class Full:
    """A cgroup that uses so much of its limit."""

    def __init__(self, used: float, limited: bool = True) -> None:
        self.used = lambda: used
        self.is_limited = lambda: limited


def test_the_memory_of_the_cgroup_is_judged_by_its_limit() -> None:
    world = World()
    gate = world.gates.share(0.8)
    world.overload.cgroup = Full(0.76)  # type: ignore[assignment]
    world.turns(0.0, 10)
    assert gate.share == pytest.approx(0.5)
    assert world.said == ["shed: new requests are refused: the cgroup uses 76% of its memory, near or above memory: 80%"]


def test_a_cgroup_without_a_limit_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terraster.phases.overload.Cgroup", lambda: Full(0.0, limited=False))
    world = World()
    gate = world.gates.share(0.8)
    world.turns(0.0, 30)
    assert gate.share == 0.0
    (said,) = world.said
    assert said.startswith("shed: memory in percent has no effect: the cgroup of this process has no limit")


def test_nothing_is_measured_where_nothing_is_shed() -> None:
    world = World()

    def memory() -> int:
        raise AssertionError("looked at")

    world.overload.memory = memory
    gate = world.gates.lag(0.05)
    world.turns(0.0, 1)
    del gate
    world.overload.sweep(world.loop.now + 5.0)
    assert not world.loop.timers


def test_resident_memory_is_what_the_kernel_says() -> None:
    said = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
    assert resident() == pytest.approx(int(said.split()[1]) << 10, rel=0.1)
