"""`--watch`: a table again and again, on one screen, in a pipe, and as JSON."""

from __future__ import annotations

import argparse
import io
import json
import sys
from typing import Any

import pytest

from terraster.cli import watching
from terraster.cli.control import Control, Refused
from terraster.cli.output import colourful
from terraster.cli.watching import drawn, watched

from .harness.terraster_process import run_ctl


class Clock:
    """Sleeps as long as there are runs left; then Ctrl-C comes."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == self.runs:
            raise KeyboardInterrupt


def run(monkeypatch: pytest.MonkeyPatch, command: Any, runs: int, **arguments: Any) -> Clock:
    clock = Clock(runs)
    monkeypatch.setattr(watching.time, "sleep", clock.sleep)
    given = argparse.Namespace(**{"watch_seconds": 2.0, "json": False, "timeout": 5.0, **arguments})
    with pytest.raises(KeyboardInterrupt):
        watched(command, Control("/nowhere", 5.0), given)
    return clock


def test_tables_follow_one_another_in_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = iter(range(9))

    def command(control: Control, arguments: argparse.Namespace) -> int:
        print(f"table {next(numbers)}")
        assert not colourful()
        return 0

    assert run(monkeypatch, command, 3).slept == [2.0] * 3
    assert capsys.readouterr().out == "table 0\ntable 1\ntable 2\n"


def test_json_is_one_document_in_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def command(control: Control, arguments: argparse.Namespace) -> int:
        print(json.dumps({"a": [1, 2]}, indent=2))
        return 0

    run(monkeypatch, command, 2, json=True)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"a": [1, 2]}] * 2


def test_a_failure_ends_the_first_run_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter(["one", Refused("it is away"), "two"])

    def command(control: Control, arguments: argparse.Namespace) -> int:
        answer = next(answers)
        if isinstance(answer, Refused):
            raise answer
        print(answer)
        return 0

    run(monkeypatch, command, 3)
    assert capsys.readouterr().out.splitlines() == ["one", "terrasterctl: it is away; trying again", "two"]
    answers = iter([Refused("it is away")])
    with pytest.raises(Refused):
        watched(command, Control("/nowhere", 5.0), argparse.Namespace(watch_seconds=1.0, json=False, timeout=5.0))


def test_a_closed_pipe_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    def command(control: Control, arguments: argparse.Namespace) -> int:
        print("table")
        return 0

    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(BrokenPipeError):
        watched(command, Control("/nowhere", 5.0), argparse.Namespace(watch_seconds=1.0, json=False, timeout=5.0))


def test_without_the_option_a_command_runs_once() -> None:
    assert watched(lambda control, arguments: 7, Control("/nowhere", 5.0), argparse.Namespace()) == 7


@pytest.mark.parametrize(
    ("rows", "lines"), [(10, ["one", "two", "three"]), (4, ["one", "two", "three"]), (3, ["one", "... 2 more lines"])]
)
def test_a_screen_is_drawn_over_and_never_longer(rows: int, lines: list[str]) -> None:
    text = drawn("one\ntwo\nthree\n", rows)
    assert text.startswith("\x1b[?7l\x1b[H") and text.endswith("\x1b[J\x1b[?7h"), (
        "lines are cut, not wrapped, and the rest is cleared"
    )
    assert [line.removesuffix("\x1b[0m\x1b[K").removeprefix("\x1b[?7l\x1b[H") for line in text.split("\r\n")[:-1]] == lines


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan", "1e9"])
def test_seconds_must_make_sense(seconds: str) -> None:
    done = run_ctl("status", f"--watch={seconds}")
    assert done.returncode == 2 and "must be seconds" in done.stderr


@pytest.mark.parametrize("command", [(), ("user",), ("backend",)])
def test_a_command_without_an_action_shows_its_help(command: tuple[str, ...]) -> None:
    done = run_ctl(*command)
    assert done.returncode == 2 and "usage: " in done.stderr and "show this help" in done.stderr
    assert done.stderr.endswith("which ACTION?\n" if command else "which COMMAND?\n")
