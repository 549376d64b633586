"""Backups of logs are looked after, and a failure is said once."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from terraster.admin.archivist import Archivist
from terraster.config.loggers import AccessLog, Rotation
from terraster.config.snapshot import Snapshot

NIGHT = 1700000000.125


class Log:
    def __init__(self) -> None:
        self.said: list[str] = []

    def warning(self, text: str, *arguments: object) -> None:
        self.said.append(text % arguments)


def test_backups_are_compressed_and_a_failure_is_said_once_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, now = Log(), [NIGHT]
    rule = Rotation(1, compress=True)
    snapshot = Snapshot(1, (), (), access_log=AccessLog(path=f"{tmp_path}/a.log", rotation=rule))
    archivist = Archivist(lambda: snapshot, log, lambda: now[0])
    archivist.turn()
    backup = tmp_path / "a.log-20231114T221320.125Z"
    backup.write_text("x\n")
    real = os.fsync

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for _ in range(3):
        archivist.turn()
    assert log.said == [f"backups of a log: {backup} cannot be compressed: No space left on device"]
    now[0] += 3601
    archivist.turn()
    assert len(log.said) == 2
    monkeypatch.setattr(os, "fsync", real)
    archivist.turn()
    assert gzip.decompress(backup.with_name(f"{backup.name}.gz").read_bytes()) == b"x\n" and not backup.exists()
