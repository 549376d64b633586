"""Files that begin anew at a size: by whom, under which name, and when a backup is compressed or removed."""

from __future__ import annotations

import fcntl
import gzip
import os
import stat
from multiprocessing import get_context
from pathlib import Path

import pytest

from terraster.config.loggers import AccessLog, ProgramLogger, Rotation
from terraster.config.snapshot import Service, Snapshot
from terraster.logs import rotating
from terraster.logs.backups import Backup, backups, compress, expired, rotations, tidy
from terraster.logs.rotating import RotatingSink, backup_name

from .test_logs_access import no_warning

NIGHT = 1700000000.125


def sink(path: Path, size: int = 100, warn=no_warning) -> RotatingSink:
    return RotatingSink(str(path), Rotation(size), warn, wall=lambda: NIGHT)


def old(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.name != "a.log")


def test_a_file_that_is_large_enough_begins_anew(tmp_path: Path) -> None:
    log = sink(tmp_path / "a.log")
    for number in range(25):
        log.write(b"line %04d\n" % number)
    log.close()
    assert old(tmp_path) == ["a.log-20231114T221320.125Z", "a.log-20231114T221320.126Z"]
    texts = [(tmp_path / name).read_text() for name in (*old(tmp_path), "a.log")]
    assert "".join(texts) == "".join(f"line {number:04d}\n" for number in range(25))
    assert [len(text) for text in texts] == [100, 100, 50]
    assert stat.S_IMODE((tmp_path / "a.log").stat().st_mode) == 0o640


def test_a_file_that_is_large_at_the_start_takes_one_block(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"x" * 500 + b"\n")
    log = sink(tmp_path / "a.log")
    log.write(b"last\n")
    log.write(b"first\n")
    assert (tmp_path / "a.log").read_bytes() == b"first\n"


def test_who_finds_the_file_renamed_writes_to_the_new_one(tmp_path: Path) -> None:
    one, other = sink(tmp_path / "a.log"), sink(tmp_path / "a.log")
    one.write(b"1" * 60 + b"\n")
    other.write(b"2" * 60 + b"\n")
    one.write(b"3\n")
    assert [(tmp_path / name).read_bytes()[:1] for name in (*old(tmp_path), "a.log")] == [b"1", b"3"]


def test_while_another_process_rotates_nobody_waits(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    log = sink(tmp_path / "a.log")
    log.write(b"1" * 200 + b"\n")
    assert old(tmp_path) == []
    os.close(folder)
    log.write(b"2\n")
    assert len(old(tmp_path)) == 1 and (tmp_path / "a.log").read_bytes() == b""


def test_a_directory_that_cannot_be_written_costs_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    log = sink(tmp_path / "a.log", warn=said.append)

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", refused)
    for _ in range(5):
        log.write(b"1" * 99 + b"\n")
    assert (tmp_path / "a.log").stat().st_size == 500
    assert said == [f"log {tmp_path}/a.log: it cannot be rotated and grows on: Permission denied"]


def test_pipes_and_descriptors_are_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.log")
    reader = os.open(tmp_path / "a.log", os.O_RDONLY | os.O_NONBLOCK)
    log = sink(tmp_path / "a.log")
    log.write(b"1" * 200 + b"\n")
    assert len(os.read(reader, 1000)) == 201 and old(tmp_path) == []
    os.close(reader)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "a.log").symlink_to(tmp_path / "there" / "b.log")
    log = sink(tmp_path / "a.log")
    log.write(b"1" * 200 + b"\n")
    log.write(b"2\n")
    assert (tmp_path / "a.log").is_symlink() and (tmp_path / "there" / "b.log").read_bytes() == b"2\n"
    assert [Path(one.path).parent for one in backups(str(tmp_path / "a.log"))] == [tmp_path / "there"]


def _many(path: str, who: int) -> None:
    log = RotatingSink(path, Rotation(3000), no_warning)
    for number in range(400):
        log.write(b"%d %d %b\n" % (who, number, b"x" * (number % 50)))
    log.close()


def test_processes_together_write_each_line_once(tmp_path: Path) -> None:
    context = get_context("fork")
    children = [context.Process(target=_many, args=(str(tmp_path / "a.log"), who)) for who in range(4)]
    for child in children:
        child.start()
    while any(child.is_alive() for child in children):
        tidy(str(tmp_path / "a.log"), Rotation(3000, compress=True), NIGHT)
    for child in children:
        child.join()
        assert child.exitcode == 0
    tidy(str(tmp_path / "a.log"), Rotation(3000, compress=True), NIGHT)
    assert all(one.packed for one in backups(str(tmp_path / "a.log"))) and len(old(tmp_path)) > 10
    text = b"".join(gzip.decompress((tmp_path / name).read_bytes()) for name in old(tmp_path)) + (tmp_path / "a.log").read_bytes()
    expected = [b"%d %d %b" % (who, number, b"x" * (number % 50)) for who in range(4) for number in range(400)]
    assert sorted(text.splitlines()) == sorted(expected)


def test_a_backup_that_is_still_written_is_not_compressed(tmp_path: Path) -> None:
    one, other = sink(tmp_path / "a.log"), sink(tmp_path / "a.log")
    one.write(b"1" * 200 + b"\n")
    (name,) = old(tmp_path)
    assert not compress(str(tmp_path / name))
    other.write(b"2\n")  # it looks, and lets the old file go
    assert compress(str(tmp_path / name)) and old(tmp_path) == [f"{name}.gz"]
    assert gzip.decompress((tmp_path / f"{name}.gz").read_bytes()) == b"1" * 200 + b"\n"
    assert stat.S_IMODE((tmp_path / f"{name}.gz").stat().st_mode) == 0o640


def made(folder: Path, *moments: float) -> str:
    for moment in moments:
        Path(backup_name(f"{folder}/a.log", moment)).write_text(f"{moment}\n")
    return f"{folder}/a.log"


def test_backups_are_found_by_their_names(tmp_path: Path) -> None:
    path = made(tmp_path, NIGHT, NIGHT + 5)
    for other in ("a.log", "a.log.1", "a.log-old", "b.log-20231114T221320.125Z", "a.log-20231114T221320.125Z.gz.part"):
        (tmp_path / other).touch()
    (tmp_path / "a.log-20231114T221320.125Z.gz").touch()
    first, second = backups(path)
    assert (first.moment, first.packed, second.moment, second.packed) == (NIGHT + 5, False, NIGHT, True)
    assert backups("/none/of/these/a.log") == []


@pytest.mark.parametrize(
    ("rule", "gone"),
    [
        (Rotation(1), []),
        (Rotation(1, backups=2), [1.0]),
        (Rotation(1, age=60.0), [2.0, 1.0]),
        (Rotation(1, backups=1, age=60.0), [2.0, 1.0]),
        (Rotation(1, backups=1, age=200.0), [2.0, 1.0]),
    ],
)
def test_backups_that_are_not_kept(rule: Rotation, gone: list[float]) -> None:
    found = [Backup(str(moment), moment, False) for moment in (90.0, 2.0, 1.0)]
    assert [one.moment for one in expired(found, rule, 100.0)] == gone


def test_too_many_and_too_old_ones_are_removed_and_others_compressed(tmp_path: Path) -> None:
    path = made(tmp_path, *(NIGHT + number for number in range(6)))
    assert tidy(path, Rotation(1, backups=4, age=3.5, compress=True), NIGHT + 6) == []
    assert old(tmp_path) == [f"a.log-20231114T22132{second}.125Z.gz" for second in (3, 4, 5)]
    assert gzip.decompress((tmp_path / old(tmp_path)[0]).read_bytes()) == f"{NIGHT + 3}\n".encode()


def test_a_compression_that_was_killed_at_its_last_step_is_finished(tmp_path: Path) -> None:
    path = made(tmp_path, NIGHT)
    (name,) = old(tmp_path)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(b"whole\n"))
    assert tidy(path, Rotation(1, compress=True), NIGHT) == []
    assert old(tmp_path) == [f"{name}.gz"]


def test_failures_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path, NIGHT)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    name = old(tmp_path)[0]
    assert tidy(path, Rotation(1, compress=True), NIGHT) == [f"{tmp_path}/{name} cannot be compressed: No space left on device"]
    assert old(tmp_path) == [name]


def test_the_files_of_a_configuration_with_their_rules() -> None:
    top, shop = Rotation(1), Rotation(2)
    service = Service(
        "shop", ("*",), (":80",), (), access_log=AccessLog(path="/shop", others=("-", "/more"), errors=("/bad",), rotation=shop)
    )
    snapshot = Snapshot(1, (), (service,), program_log=ProgramLogger(("/own",), ("/dev/fd/2",), rotation=top))
    assert rotations(snapshot) == {"/own": top, "/shop": shop, "/more": shop, "/bad": shop}


def test_a_directory_that_takes_the_place_of_a_new_file_costs_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.log"
    log = sink(path)
    log.write(b"one\n")
    path.rename(tmp_path / "moved")  # by another program; the sink makes a new file, which goes before it is locked

    def lock(fd: int, kind: int) -> bool:
        path.unlink()
        path.mkdir()
        return True

    monkeypatch.setattr(rotating, "_lock", lock)
    log.write(b"two\n")
    assert (tmp_path / "moved").read_bytes() == b"one\ntwo\n"
