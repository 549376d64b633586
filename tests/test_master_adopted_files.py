"""Several files that are written as one: kills at each step, files that others change, directories that cannot be written."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from terraster.master.operator.adopted_files import finish, write

OLD = {"main.yaml": b"old main\n", "d/a.yaml": b"old a\n", "d/b.yaml": b"old b\n"}
NEW = {name: text.replace(b"old", b"new") for name, text in OLD.items()}


class House:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "d").mkdir()
        for name, text in OLD.items():
            (folder / name).write_bytes(text)
            (folder / name).chmod(0o640)
        self.main = str(folder / "main.yaml")

    def texts(self, texts: dict[str, bytes]) -> dict[str, bytes]:
        return {str(self.folder / name): text for name, text in texts.items()}

    def found(self) -> dict[str, bytes]:
        return {name: (self.folder / name).read_bytes() for name in OLD}

    def left(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*.terraster-*"))

    def killed(self, step: str, count: int) -> None:
        """A process that is killed at the step of this name that comes as the count-th."""
        child = os.fork()
        if not child:
            seen: list[str] = []

            def stop(name: str) -> None:
                seen.append(name)
                if seen.count(step) == count:
                    os.kill(os.getpid(), signal.SIGKILL)

            try:
                write(self.main, self.texts(NEW), self.texts(OLD), stop)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_all_are_written_with_their_modes_and_nothing_is_left(house: House) -> None:
    write(house.main, house.texts(NEW), house.texts(OLD))
    assert house.found() == NEW and house.left() == [] and finish(house.main) == []
    assert {stat.S_IMODE((house.folder / name).stat().st_mode) for name in OLD} == {0o640}


@pytest.mark.parametrize(
    ("step", "count", "after"),
    [
        ("file prepared", 1, OLD),
        ("file prepared", 3, OLD),
        ("journal written", 1, NEW),
        ("file renamed", 1, NEW),
        ("file renamed", 2, NEW),
        ("file renamed", 3, NEW),
        ("journal removed", 1, NEW),
    ],
)
def test_after_a_kill_all_are_old_or_all_are_new(house: House, step: str, count: int, after: dict[str, bytes]) -> None:
    house.killed(step, count)
    lines = finish(house.main)
    assert house.found() == after and finish(house.main) == []
    assert len(lines) == (3 - (count if step == "file renamed" else 0) if step in ("journal written", "file renamed") else 0)
    write(house.main, house.texts(NEW), house.texts(house.found()))
    assert house.found() == NEW and house.left() == [], "what was left is in nobody's way"


def test_a_file_that_another_hand_changed_after_the_kill_stays_as_it_is(house: House) -> None:
    house.killed("file renamed", 1)
    (house.folder / "d/b.yaml").write_bytes(b"mine\n")
    lines = finish(house.main)
    assert house.found() == {**NEW, "d/b.yaml": b"mine\n"} and house.left() == []
    assert "d/b.yaml: was changed" in lines[-1] and "stays as it is" in lines[-1]


def test_a_file_that_was_changed_before_refuses_all(house: House) -> None:
    (house.folder / "d/b.yaml").write_bytes(b"mine\n")
    with pytest.raises(OSError, match="changed meanwhile"):
        write(house.main, house.texts(NEW), house.texts(OLD))
    assert house.found() == {**OLD, "d/b.yaml": b"mine\n"} and house.left() == []


def test_a_rename_that_fails_takes_the_others_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.replace

    def replace(source: str, target: str) -> None:
        if target.endswith("b.yaml"):
            raise OSError(30, "Read-only file system", target)
        original(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="Read-only"):
        write(house.main, house.texts(NEW), house.texts(OLD))
    monkeypatch.undo()
    assert house.found() == OLD and house.left() == [] and finish(house.main) == []
    assert {stat.S_IMODE((house.folder / name).stat().st_mode) for name in OLD} == {0o640}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"version": 2}'])
def test_a_damaged_journal_is_an_error(house: House, content: bytes) -> None:
    Path(f"{house.main}.terraster-adopting").write_bytes(content)
    with pytest.raises(ValueError):
        finish(house.main)
    assert house.found() == OLD
