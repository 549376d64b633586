"""kill -9 of the master at each step of a start, a reload, an order, an upgrade and a take-over.

Afterwards there is the old or the new, never one half.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from terraster.master.steps import ADOPTION, EDIT, KEY, ORDER, TABLE, UPGRADE, of_first, of_refresh, of_reload
from tests.harness.family import Family
from tests.harness.program import is_gone
from tests.harness.waiting import wait_until

OLD, NEW = "http://127.0.0.1:1", "http://127.0.0.1:2"
NAMES = (
    "edits",
    "overrides",
    "certificates",
    "credentials",
    "authorities",
    "staples",
    "filter_files",
    "names",
    "slots",
    "plan",
    "listeners",
    "states",
    "outliers",
    "prober",
    "orders",
    "unresolved",
    "tickets",
    "plugin_deaths",
    "children",
)
"""The participants of a master, in their order."""


def test_the_manual_lists_the_participants_in_their_order() -> None:
    """`NAMES` is what a real start and a real reload are compared with below."""
    page = (Path(__file__).parent.parent / "docs/principles.md").read_text().split("## Participants")[1]
    rows = [line.split()[0] for line in page.split("```")[1].strip().splitlines()]
    assert tuple(rows) == NAMES


class Victim(Family):
    """A family whose master dies at a step, and is started again."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.trace = directory / "steps"
        super().__init__(workers=1, services={"one": [OLD]}, steps=str(self.trace), die="", drain=0.1, **settings)

    def steps(self) -> list[str]:
        """The steps since the last call."""
        found = self.trace.read_text().split("\n")[:-1] if self.trace.exists() else []
        self.trace.write_text("")
        return found

    def bury(self) -> None:
        """Wait for the death of the master, and end what it left behind: children, and a master that it began to start."""
        self.process.wait(20)
        wait_until(lambda: not killed(self.path))

    def again(self) -> None:
        """A start after a death, with nobody left."""
        self.bury()
        self.next()

    def next(self) -> None:
        """A start after a death."""
        before = len(self.log())
        self.write(die="")
        self.start()
        wait_until(lambda: "ready: " in self.log()[before:], self.log, 30)
        assert "error" not in self.log()[before:], self.log()[before:]

    def whole(self) -> None:
        """Everything that others find belongs to the master that runs, and nothing is left of another one."""
        assert Path(self.runtime, "terraster.pid").read_text() == f"{self.pid}\n"
        assert set(os.listdir(self.runtime)) - {"state"} == {"control.sock", "terraster.pid"}
        assert set(os.listdir(f"{self.runtime}/state") if os.path.exists(f"{self.runtime}/state") else []) <= {
            "audit",
            "edits.json",
            "edits.json.new",
            "edits.lock",
            "generations",
            "overlay.json",
            "overlay.json.new",
            "overlay.lock",
        }
        status = self.ask("status")
        assert (status["pid"], status["listeners"]) == (self.pid, [*self.settings["listen"], f"unix:{self.runtime}/control.sock"])
        assert self.get()["services"] == list(self.settings["services"])
        assert list(status["prober"]) == [f"one/ {url}" for url in self.settings["services"]["one"]]

    def overridden(self) -> tuple[str, int]:
        """The order for the backend, and its weight."""
        found: dict[str, Any] = self.ask("status")["orders"]["backends"].get(f"one/ {OLD}", {})
        order, weight = found.get("order"), found.get("weight_override")
        return order["what"] if order else "", weight["weight"] if weight else 1


def command_lines() -> Iterator[tuple[int, bytes]]:
    """Of each process. Empty for a moment while it becomes another program."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                os.readlink(f"/proc/{name}/exe")  # the kernel's own threads have none
                words = Path("/proc", name, "cmdline").read_bytes()
                if not is_gone(int(name)):
                    yield int(name), words


def relatives(path: str) -> list[int]:
    """The processes that run the program on a configuration file."""
    return [pid for pid, words in command_lines() if path.encode() in words.split(b"\0")]


def killed(path: str) -> list[int]:
    """Kill the `relatives` that are left. Called again until it returns none: those that may become one are among them."""
    left = [(pid, words) for pid, words in command_lines() if not words or path.encode() in words.split(b"\0")]
    for pid, words in left:
        if words:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return [pid for pid, _ in left]


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    made = Victim(tmp_path)
    with made:
        yield made


def asked(family: Family, verb: str) -> None:
    """Ask a master that dies meanwhile."""
    with suppress(OSError, ValueError):
        family.ask(verb)


def test_the_table_is_what_a_run_goes_through(victim: Victim) -> None:
    assert tuple(victim.steps()) == of_first(NAMES)
    victim.write(services={"one": [NEW]})
    victim.ask("reload")
    assert tuple(victim.steps()) == of_reload(NAMES)
    victim.ask("order/drain")
    assert tuple(victim.steps()) == ORDER
    victim.ask("order/weight/5")
    assert tuple(victim.steps()) == (*ORDER, *of_refresh(NAMES))
    victim.ask("add")
    written, renamed = EDIT
    steps = list(of_refresh(NAMES))
    steps.insert(steps.index("edits prepared"), written)
    steps.insert(steps.index("edits committed"), renamed)
    assert victim.steps() == steps


@pytest.mark.parametrize("half", [0, 1])
def test_a_reload(victim: Victim, half: int) -> None:
    services = [{"one": [OLD]}, {"one": [NEW]}]
    port = victim.settings["listen"]
    for turn, step in enumerate(of_reload(NAMES)[half::2]):
        other = [] if turn % 2 else [f"unix:{victim.directory.name}/other.sock"]
        victim.write(die=step, services=services[turn % 2 - 1], listen=[*port, *other])
        asked(victim, "reload")
        victim.again()
        victim.whole()


def test_a_start(victim: Victim) -> None:
    """Each start dies one step later than the one before, whose remains it finds."""
    os.kill(victim.pid, signal.SIGKILL)
    victim.bury()
    for step in of_first(NAMES):
        victim.steps()
        victim.write(die=step)
        victim.start()
        victim.bury()
        assert victim.steps()[-1] == step
    victim.again()
    victim.whole()


@pytest.mark.parametrize(
    ("step", "order", "survives"),
    [
        ("overrides written", "drain", False),
        ("overrides renamed", "drain", True),
        ("overrides written", "weight/5", False),
        ("overrides renamed", "weight/5", True),
        *((step, "weight/5", True) for step in ("overrides prepared", "plan committed", "children committed", "children told")),
    ],
)
def test_an_order(victim: Victim, step: str, order: str, survives: bool) -> None:
    victim.write(die=step)
    asked(victim, f"order/{order}")
    victim.again()
    victim.whole()
    new = ("drain", 1) if order == "drain" else ("", 5)
    assert victim.overridden() == (new if survives else ("", 1))
    assert victim.ask("order/maintain")["ok"], "and the next one finds no lock"
    assert victim.overridden() == ("maintenance", new[1] if survives else 1)
    kept = json.loads(Path(victim.runtime, "state", "overlay.json").read_text())
    assert list(kept["backends"]) == [f"one/ {OLD}"]


@pytest.mark.parametrize(
    ("step", "survives"),
    [(EDIT[0], False), ("edits prepared", False), ("children prepared", False), (EDIT[1], True)]
    + [("edits committed", True), ("children committed", True), ("settled", True), ("children told", True)],
)
def test_an_edit(victim: Victim, step: str, survives: bool) -> None:
    """There is the old or the new, and what is kept is what runs."""
    victim.write(die=step)
    asked(victim, "add")
    victim.again()
    status = victim.ask("status")
    added = "one/ http://127.0.0.1:3"
    assert (added in status["prober"], [edit["number"] for edit in status["edits"]]) == (survives, [1] if survives else [])
    assert victim.ask("add")["ok"] != survives, "the next one finds no lock"
    assert added in victim.ask("status")["prober"]


@pytest.mark.parametrize("step", KEY)
@pytest.mark.parametrize("when", ["start", "reload"])
def test_the_key_of_sessions(victim: Victim, when: str, step: str) -> None:
    """There is a whole one or none, and a master that has one never changes it."""
    path = Path(victim.runtime, "state", "cookie.key")
    if when == "reload":
        victim.write(die=step, sessions=True)
        asked(victim, "reload")
    else:
        os.kill(victim.pid, signal.SIGKILL)
        victim.bury()
        victim.write(die=step, sessions=True)
        victim.start()
    victim.bury()
    assert victim.steps()[-1] == step
    made = path.read_bytes() if path.exists() else b""
    assert len(made) == (32 if step == "key linked" else 0)
    victim.next()
    key = path.read_bytes()
    assert len(key) == 32 and key.startswith(made)
    assert victim.get()["key"] == key.hex()
    assert victim.ask("reload")["ok"] and path.read_bytes() == key


def test_a_take_over_goes_through_its_steps(tmp_path: Path) -> None:
    with Victim(tmp_path, orphan=60) as victim:
        os.kill(victim.pid, signal.SIGKILL)
        victim.process.wait(20)
        victim.steps()
        victim.next()
        wait_until(lambda: tuple(step for step in victim.trace.read_text().split("\n") if step in ADOPTION) == ADOPTION)


@pytest.mark.parametrize("step", ADOPTION)
def test_a_take_over_from_a_dead_master(tmp_path: Path, step: str) -> None:
    """Clients notice none of the deaths, and no count is lost."""
    with Victim(tmp_path, orphan=60) as victim:
        for _ in range(3):
            victim.get("/count")
        before = set(victim.family())
        with victim.traffic() as failed:
            os.kill(victim.pid, signal.SIGKILL)
            victim.process.wait(20)
            victim.write(die=step)
            victim.start()
            victim.process.wait(20)
            assert victim.steps()[-1] == step
            victim.next()
            wait_until(lambda: all(map(is_gone, before)), victim.log, 30)
        assert failed == []
        wait_until(
            lambda: set(os.listdir(victim.runtime)) - {"state"} == {"control.sock", "terraster.pid"},
            lambda: str(os.listdir(victim.runtime)),
        )
        victim.whole()
        wait_until(lambda: set(relatives(victim.path)) == {victim.pid, *victim.family()}, "no process of a dead master")
        assert victim.get("/totals")["bytes"] == 21


@pytest.mark.parametrize(
    "step", [*TABLE, "names prepared", "slots prepared", "listeners prepared", "prober committed", "children committed"]
)
def test_a_new_master_that_dies_in_its_start_leaves_the_old_one_as_it_was(victim: Victim, step: str) -> None:
    victim.steps()
    before = len(victim.log())
    victim.write(die=step)
    os.kill(victim.pid, signal.SIGUSR2)
    wait_until(lambda: "this one goes on" in victim.log()[before:].partition("until it gets TERM")[2], victim.log, 20)
    assert step in victim.steps()
    victim.write(die="")
    assert victim.get()["services"] == ["one"]
    assert victim.ask("order/drain")["ok"] and victim.overridden() == ("drain", 1)
    assert victim.ask("order/enable")["ok"] and victim.overridden() == ("", 1)


@pytest.mark.parametrize("step", UPGRADE)
def test_an_upgrade(victim: Victim, step: str) -> None:
    before = len(victim.log())
    victim.write(die=step)
    os.kill(victim.pid, signal.SIGUSR2)
    if step != UPGRADE[0]:
        wait_until(lambda: "ready: " in victim.log()[before:], victim.log, 30)
        os.kill(victim.pid, signal.SIGTERM)
        victim.process.wait(20)
        wait_until(lambda: step in victim.steps())
    victim.again()
    victim.whole()
