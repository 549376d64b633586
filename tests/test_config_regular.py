"""Opening the files that operators name: whatever is no file is refused, at once."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from terraster.config.regular import regular


def opened(path: Path | str) -> bytes:
    with open(path, "rb", opener=regular) as stream:
        return stream.read()


def test_a_file_is_read_also_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("words")
    (tmp_path / "link").symlink_to("file")
    assert opened(tmp_path / "file") == opened(tmp_path / "link") == b"words"
    assert opened(os.devnull) == b""


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path, kind in (
            (tmp_path / "pipe", "a named pipe"),
            (tmp_path / "link", "a named pipe"),
            (tmp_path / "socket", "a socket"),
            ("/dev/zero", "a device"),
        ):
            before = len(os.listdir("/proc/self/fd"))
            with pytest.raises(OSError, match=re.escape(f"it is {kind}, not a file: '{path}'")):
                opened(path)
            assert len(os.listdir("/proc/self/fd")) == before


def test_what_cannot_be_opened_has_the_usual_reason(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        opened(tmp_path)
