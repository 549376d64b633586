"""The audit log on the disk: kills at every step, full disks, several writers, retention, foreign hands."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from terraster.audit import chain as chain_of_log
from terraster.audit.chain import Verdict
from terraster.audit.log import DAY, AuditError, AuditLog, Ended

NOVEMBER = 1_795_000_000.0  # 18 November 2026


class Log:
    """A log with a clock of its own. ``said``: its complaints"""

    def __init__(self, folder: Path, step: Callable[[str], object] = str) -> None:
        self.folder = folder / "audit"
        self.now = NOVEMBER
        self.said: list[str] = []
        self.log = AuditLog(str(self.folder), self.said.append, self.clock, step)

    def clock(self) -> float:
        return self.now

    def add(self, action: str, **facts: object) -> int:
        seq: int = self.log.append({"user": "bob", "action": action, "outcome": "done", **facts})["seq"]
        return seq

    def actions(self) -> list[str]:
        return [row["action"] for row in self.log.rows()]

    def problem(self) -> str:
        return self.log.verify().problem

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*.jsonl"))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_rows_are_read_the_newest_first(log: Log) -> None:
    assert [log.add(name) for name in "abc"] == [1, 2, 3]
    assert log.actions() == ["c", "b", "a"]
    assert [row["action"] for row in log.log.rows(before=3)] == ["b", "a"]
    assert log.problem() == "" and log.log.verify().rows == 3
    assert stat.S_IMODE(log.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in log.folder.iterdir()} == {0o600}


def test_an_empty_log_is_whole_and_makes_no_directory(log: Log) -> None:
    assert log.problem() == "" and list(log.log.rows()) == [] and log.log.recover() == [] and log.log.tidy(1) == []
    assert not log.folder.exists()


def test_a_file_for_each_month_and_none_again_for_a_clock_that_goes_back(log: Log) -> None:
    log.add("a")
    log.now += 31 * DAY
    log.add("b")
    log.now -= 31 * DAY
    log.add("c")
    assert log.files() == ["2026-11.jsonl", "2026-12.jsonl"]
    assert log.actions() == ["c", "b", "a"] and log.problem() == ""


def test_the_chain_outlives_the_removal_of_old_files(log: Log) -> None:
    for month in range(4):
        log.now = NOVEMBER + month * 31 * DAY
        log.add(f"a{month}")
        log.add(f"b{month}")
    assert log.log.tidy(365) == []
    assert log.log.tidy(40) == ["2026-11.jsonl", "2026-12.jsonl"]
    assert log.problem() == "" and log.log.verify().rows == 4
    log.add("later")
    assert log.problem() == "" and log.actions() == ["later", "b3", "a3", "b2", "a2"]
    (log.folder / "2027-01.jsonl").unlink()
    assert "rows 5 to 6 are missing before row 7" in log.problem()


def test_a_file_whose_removal_was_interrupted_is_removed_later(log: Log) -> None:
    log.add("a")
    log.now += 100 * DAY
    log.add("b")

    def killed(step: str) -> None:
        if step == "head moved":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        AuditLog(str(log.folder), log.said.append, log.clock, killed).tidy(40)
    assert len(log.files()) == 2
    assert log.log.tidy(40) == ["2026-11.jsonl"] and log.problem() == ""


def ended(log: Log, *actions: str) -> list[Ended]:
    return [Ended({"action": name, "request_id": f"r-{name}"}, "", log.now) for name in actions]


def test_rows_that_come_together_are_written_together(tmp_path: Path) -> None:
    steps: list[str] = []
    log = Log(tmp_path, steps.append)
    log.add("a")
    steps.clear()
    assert [row["seq"] for row in log.log.append_all(ended(log, *"bcdef"))] == [2, 3, 4, 5, 6]
    assert steps.count("head written") == steps.count("row written") == 1
    log.add("g")
    assert log.actions() == [*"gfedcba"] and log.problem() == ""


def test_rows_of_two_months_are_in_two_files(log: Log) -> None:
    several = [Ended({"action": name}, "", when) for name, when in (("a", log.now), ("b", log.now + 31 * DAY), ("c", log.now))]
    assert [row["action"] for row in log.log.append_all(several)] == ["a"]
    assert [row["action"] for row in log.log.append_all(several[1:])] == ["b", "c"], "a clock that goes back begins no file again"
    assert log.files() == ["2026-11.jsonl", "2026-12.jsonl"] and log.actions() == [*"cba"] and log.problem() == ""


def test_a_verdict_does_not_keep_writers_waiting(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        log.add(name)
    other = AuditLog(str(log.folder), str, log.clock)
    monkeypatch.setattr("terraster.audit.log._TRIES", 1)
    original = chain_of_log.verified

    def verified(lines: Iterable[tuple[str, bytes]], *rest: Any) -> Verdict:
        found = iter(lines)
        first = next(found)
        other.append({"action": "meanwhile"})
        return original(itertools.chain([first], found), *rest)

    monkeypatch.setattr("terraster.audit.log.verified", verified)
    verdict = log.log.verify()
    assert (verdict.problem, verdict.rows) == ("", 3)
    monkeypatch.undo()
    assert log.problem() == "" and log.actions() == ["meanwhile", *"cba"]


# Kills.


@pytest.mark.parametrize("step", ["head written", "part written", "row written"])
def test_a_kill_at_each_step_leaves_all_rows_that_were_written_together(log: Log, step: str) -> None:
    log.add("before")

    def killed(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        try:
            AuditLog(str(log.folder), str, log.clock, killed).append_all(ended(log, "x", "y", "z"))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    log.log.recover()
    assert log.problem() == "" and log.actions() == ["z", "y", "x", "before"]
    log.add("after")
    assert log.problem() == "" and log.actions()[0] == "after"


def test_rows_that_were_written_together_are_completed_from_each_octet(log: Log) -> None:
    log.add("a")
    log.log.append_all(ended(log, "b", "c"))
    path = log.folder / "2026-11.jsonl"
    whole = path.read_bytes()
    second = len(whole.splitlines(keepends=True)[-1])
    for cut, words in ((1, "row 3"), (second, "row 3"), (second + 1, "2 rows up to 3"), (second + 40, "2 rows up to 3")):
        path.write_bytes(whole[:-cut])
        log.log.recover()
        assert path.read_bytes() == whole and words in log.said[-1]
    assert log.problem() == ""


def test_of_changes_that_began_together_those_without_a_row_get_one(log: Log) -> None:
    child = os.fork()
    if not child:
        try:
            facts = [{"user": "bob", "action": "weight", "request_id": f"r{number}"} for number in range(4)]
            tokens = log.log.begin_all(facts)
            log.log.append_all([Ended({**facts[at], "outcome": "done"}, tokens[at], log.now) for at in (0, 2)])
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    assert len(list(log.folder.glob("begun-*"))) == 1
    assert [(row["request_id"], row["outcome"]) for row in log.log.recover()] == [("r1", "unknown"), ("r3", "unknown")]
    assert len(log.actions()) == 4 and log.log.recover() == [] and log.problem() == ""
    assert not list(log.folder.glob("begun-*"))


def test_a_note_of_an_earlier_version_is_understood(log: Log) -> None:
    log.add("a")
    (log.folder / "begun-1-1-1").write_text(json.dumps([NOVEMBER, {"action": "drain", "user": "bob", "request_id": "r1"}]))
    (row,) = log.log.recover()
    assert (row["action"], row["user"], row["when"]) == ("drain", "bob", NOVEMBER)


@pytest.mark.parametrize("step", ["head written", "part written", "row written"])
def test_a_kill_at_each_step_loses_no_row_and_leaves_no_half_one(log: Log, step: str) -> None:
    log.add("before")

    def killed(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        try:
            AuditLog(str(log.folder), str, log.clock, killed).append({"action": "killed"})
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    log.log.recover()
    assert log.problem() == "" and log.actions() == ["killed", "before"]
    log.add("after")
    assert log.problem() == "" and log.actions() == ["after", "killed", "before"]


def test_half_a_line_is_completed_and_told(log: Log) -> None:
    log.add("a")
    log.add("b")
    path = log.folder / "2026-11.jsonl"
    whole = path.read_bytes()
    for cut in (1, 7, 200, len(whole.splitlines(keepends=True)[-1])):
        path.write_bytes(whole[:-cut])
        assert log.problem()
        log.log.recover()
        assert path.read_bytes() == whole and "was not complete" in log.said[-1]
        assert log.problem() == ""


def test_writers_that_are_killed_at_any_moment(tmp_path: Path) -> None:
    """A writer tells the number of each row that it has; what it told must be there."""
    program = (
        "import sys; from terraster.audit.log import AuditLog\n"
        "log = AuditLog(sys.argv[1], str)\n"
        "while True: print(log.append({'action': 'a' * 300})['seq'], flush=True)\n"
    )
    log = Log(tmp_path)
    last = 0
    for rows in (1, 3, 2, 5):
        with subprocess.Popen([sys.executable, "-c", program, str(log.folder)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(rows):
                last = int(writer.stdout.readline())
            writer.kill()
            told = writer.stdout.read().split()
            last = int(told[-1]) if told else last
        log.log.recover()
        found = log.log.verify()
        assert found.problem == "" and last <= found.rows <= last + 1


def test_a_change_whose_process_was_killed_leaves_a_row(log: Log) -> None:
    child = os.fork()
    if not child:
        try:
            log.log.begin({"user": "bob", "action": "backend.drain", "request_id": "r1", "reason": "disk"})
            token = log.log.begin({"user": "bob", "action": "told", "request_id": "r2"})
            log.log.append({"action": "told", "request_id": "r2", "outcome": "done"})
            os.kill(os.getpid(), signal.SIGKILL if token else signal.SIGTERM)
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    log.now += 60
    (row,) = log.log.recover()
    assert (row["action"], row["outcome"], row["reason"], row["when"]) == ("backend.drain", "unknown", "disk", NOVEMBER)
    assert "killed" in row["detail"]
    assert log.actions() == ["backend.drain", "told"] and log.log.recover() == [] and log.problem() == ""
    assert not list(log.folder.glob("begun-*"))


def test_a_change_that_is_under_way_is_nobody_elses(log: Log) -> None:
    token = log.log.begin({"action": "slow"})
    assert log.log.recover() == []
    log.log.append({"action": "slow", "outcome": "done"}, token)
    assert log.actions() == ["slow"] and not list(log.folder.glob("begun-*"))


def test_a_note_stays_until_the_last_of_its_changes_has_a_row(log: Log) -> None:
    tokens = log.log.begin_all([{"action": "a"}, {"action": "b"}])
    for token, left in zip(tokens, (1, 0), strict=True):
        log.log.append({"action": "a"}, token)
        assert len(list(log.folder.glob("begun-*"))) == left


def test_a_change_that_begins_during_another_one_shares_its_file(log: Log) -> None:
    child = os.fork()
    if not child:
        try:
            first = log.log.begin({"action": "first", "request_id": "r1"})
            second = log.log.begin({"action": "second", "request_id": "r2"})
            log.log.append({"action": "first", "request_id": "r1", "outcome": "done"}, first)
            third = log.log.begin({"action": "third", "request_id": "r3"})
            os.kill(os.getpid(), signal.SIGKILL if first == second == third else signal.SIGTERM)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    (note,) = log.folder.glob("begun-*")
    note.write_bytes(note.read_bytes() + b'[1795000000.0, {"action": "half')
    assert [row["action"] for row in log.log.recover()] == ["second", "third"], "of half a line the change had not begun"
    assert log.problem() == "" and log.log.recover() == [] and not list(log.folder.glob("begun-*"))


def test_a_note_that_cannot_be_written_keeps_no_file_for_ever(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    first = log.log.begin({"action": "first"})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("terraster.audit.folder.Folder.add", full)
        with pytest.raises(AuditError, match="No space left"):
            log.log.begin({"action": "refused"})
    log.log.append({"action": "first"}, first)
    assert not list(log.folder.glob("begun-*"))


def test_a_note_that_cannot_be_read_leaves_a_row(log: Log) -> None:
    log.add("a")
    (log.folder / "begun-1-1-1").write_bytes(b"half")
    (log.folder / "begun-1-1-2.new").write_bytes(b"a change that had not begun")
    (row,) = log.log.recover()
    assert row["action"] == "audit.broken" and "begun-1-1-1" in row["detail"] and log.problem() == ""
    assert not list(log.folder.glob("begun-*"))


# Disks.


def limited(octets: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, resource.RLIM_INFINITY))


def test_a_full_disk_takes_no_row_and_no_half_row(log: Log) -> None:
    """Files may not grow beyond a limit: a write is cut short there, and the next one fails, as on a full disk."""
    log.add("a")
    size = (log.folder / "2026-11.jsonl").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        limited(size + 100)  # the head has no room for a row either
        with pytest.raises(AuditError, match="File too large"):
            log.add("refused")
        limited(4 * size)
        taken = 0
        with pytest.raises(AuditError):
            for _ in range(10):
                log.add("taken")
                taken += 1
        assert 2 <= taken < 10
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    log.log.recover()
    assert log.problem() == "" and log.actions() == [*["taken"] * taken, "a"]
    log.add("b")
    assert log.problem() == "" and log.actions()[0] == "b"


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("a file")
    log = Log(tmp_path)
    for call in (lambda: log.add("a"), lambda: log.log.begin({})):
        with pytest.raises(AuditError, match="cannot be written"):
            call()


# Several writers.


def test_several_processes_write_one_chain(log: Log) -> None:
    children = []
    for writer in range(4):
        child = os.fork()
        if not child:
            try:
                own = AuditLog(str(log.folder), str)
                for number in range(15):
                    own.append({"action": f"{writer}.{number}"})
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert log.problem() == ""
    actions = log.actions()[::-1]
    for writer in range(4):
        assert [one for one in actions if one.startswith(f"{writer}.")] == [f"{writer}.{number}" for number in range(15)]
    assert len(actions) == 60


# Foreign hands.


def test_rows_that_were_changed_stay_visible_when_the_log_goes_on(log: Log) -> None:
    for name in "abcd":
        log.add(name)
    path = log.folder / "2026-11.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b'"b"', b'"x"') + lines[2] + lines[3])
    log.add("e")
    verdict = log.log.verify()
    assert verdict.place == "2026-11.jsonl, line 2" and "its hash" in verdict.problem


def test_rows_that_were_cut_off_stay_visible_when_the_log_goes_on(log: Log) -> None:
    for name in "abcd":
        log.add(name)
    path = log.folder / "2026-11.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    assert "rows 3 to 4 are missing at the end" in log.problem()
    log.add("e")
    assert "another hand" in log.said[-1]
    assert "rows 3 to 4 are missing before row 5" in log.problem()
    log.add("f")
    assert len(log.said) == 1, "it is said once"


def test_lines_that_were_appended_stay_visible_when_the_log_goes_on(log: Log) -> None:
    log.add("a")
    with open(log.folder / "2026-11.jsonl", "ab") as stream:
        stream.write(b"hello")
    log.add("b")
    verdict = log.log.verify()
    assert verdict.place == "2026-11.jsonl, line 2" and log.actions() == ["b", "a"]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b'{"seq": 2}', b"\xff"])
def test_a_head_that_was_removed_or_damaged_is_told(log: Log, content: bytes | None) -> None:
    log.add("a")
    log.add("b")
    path = log.folder / "head.json"
    path.unlink() if content is None else path.write_bytes(content)
    assert "head.json" in log.problem()
    log.add("c")
    assert log.actions() == ["c", "audit.head-lost", "b", "a"] and "head.json is missing or damaged" in log.said[0]
    assert log.problem() == "", "the row about it is in the chain"


def test_a_head_of_another_time_is_seen(log: Log) -> None:
    log.add("a")
    old = (log.folder / "head.json").read_bytes()
    log.add("b")
    (log.folder / "head.json").write_bytes(old)
    assert "appended" in log.problem()
    assert json.loads(old)["seq"] == 1
