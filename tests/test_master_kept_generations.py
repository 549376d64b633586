"""Generations on the disk: bounded, shared texts, damage that is told."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import gevent
import pytest

from terraster.config.edits import Edit
from terraster.master.operator.kept_generations import Kept, KeptGenerations

TEXTS = {"/etc/main.yaml": b"services: []\n", "/etc/d/a.yaml": b"a: \xff\n"}


class Log:
    """A program's log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, text: str, *words: Any) -> None:
        self.lines.append(text % words)


class House:
    def __init__(self, folder: Path, most: int = 3) -> None:
        self.folder = folder / "generations"
        self.log = Log()
        self.kept = KeptGenerations(str(folder), most, self.log)  # type: ignore[arg-type]
        self.kept.begin()

    def keep(self, number: int, texts: dict[str, bytes] = TEXTS) -> None:
        edits = (Edit(number, "backend.remove", "shop", "/", "http://b", by="ada"),)
        self.kept.keep(Kept(number, 1e9 + number, f"why {number}", ("a line",), edits, {}), texts)

    def wait(self) -> None:
        with gevent.Timeout(10):
            while self.kept._writer is not None:
                gevent.sleep(0.001)

    def names(self, ending: str) -> list[str]:
        return sorted(path.name for path in self.folder.glob(f"*{ending}"))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_what_was_kept_is_found_again_and_numbers_go_on(house: House, tmp_path: Path) -> None:
    assert house.kept.read() == 1 and house.kept.found == () and not house.folder.exists()
    for number in range(1, 6):
        house.keep(number)
    house.wait()
    later = House(tmp_path)
    assert later.kept.read() == 6 and [one.generation for one in later.kept.found] == [3, 4, 5] and not later.log.lines
    last = later.kept.found[-1]
    assert (last.when, last.why, last.changes) == (1e9 + 5, "why 5", ("a line",))
    assert [(edit.number, edit.by, edit.url) for edit in last.edits] == [(5, "ada", "http://b")]
    assert later.kept.texts(last) == TEXTS
    assert stat.S_IMODE(house.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in house.folder.iterdir()} == {0o600}


def test_texts_are_kept_once_and_go_with_the_last_generation_that_has_them(house: House, tmp_path: Path) -> None:
    house.keep(1, {"a": b"old"})
    house.keep(2, {"a": b"new"})
    house.wait()
    again = House(tmp_path)
    again.kept.read()
    for number in (3, 4):
        again.keep(number, {"a": b"new"})
    again.wait()
    assert house.names(".json") == ["2.json", "3.json", "4.json"] and len(house.names(".gz")) == 1
    again.keep(5, {"a": b"old"})
    again.wait()
    assert len(house.names(".gz")) == 2 and again.kept.texts(_found(tmp_path, 5)) == {"a": b"old"}
    assert not house.names(".new")


def _found(folder: Path, number: int) -> Kept:
    house = House(folder)
    house.kept.read()
    return next(one for one in house.kept.found if one.generation == number)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"version": 1, "generation": 2}', b"\xff", b"[" * 100_000])
def test_a_damaged_one_is_left_out_and_told(house: House, tmp_path: Path, content: bytes) -> None:
    for number in (1, 2, 3):
        house.keep(number)
    house.wait()
    (house.folder / "2.json").write_bytes(content)
    later = House(tmp_path)
    assert later.kept.read() == 4 and [one.generation for one in later.kept.found] == [1, 3]
    (line,) = later.log.lines
    assert "2.json cannot be used" in line and "generation 2 cannot be gone back to" in line


@pytest.mark.parametrize("content", [b"", b"half", None])
def test_damaged_texts_are_seen(house: House, tmp_path: Path, content: bytes | None) -> None:
    house.keep(1, {"a": b"text"})
    house.wait()
    (path,) = house.folder.glob("*.gz")
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises((OSError, ValueError)):
        house.kept.texts(_found(tmp_path, 1))


@pytest.mark.parametrize("content", [b"", b"half"])
def test_a_damaged_text_is_written_anew_with_the_next_generation_that_has_it(house: House, tmp_path: Path, content: bytes) -> None:
    house.keep(1, {"a": b"text"})
    house.wait()
    (path,) = house.folder.glob("*.gz")
    path.write_bytes(content)
    again = House(tmp_path)
    again.kept.read()
    again.keep(2, {"a": b"text"})
    again.wait()
    assert again.kept.texts(_found(tmp_path, 2)) == {"a": b"text"}


def test_a_directory_that_cannot_be_written_is_told_once(house: House) -> None:
    house.folder.write_text("a file")
    for number in (1, 2):
        house.keep(number)
        house.wait()
    (line,) = house.log.lines
    assert "a restart forgets generation 1" in line
