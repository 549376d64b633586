"""The file of edits, as a worker that is forked in the middle of an edit finds it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from terraster.config.edits import Edit
from terraster.errors import StartError
from terraster.master.operator.edit_file import EditFile


class Log:
    """A program's log that must stay empty."""

    def error(self, text: str, *_: Any) -> None:
        raise AssertionError(text)

    warning = error


def test_a_worker_forked_in_the_middle_of_an_edit_keeps_no_other_from_being_made(tmp_path: Path) -> None:
    inherited: list[int] = []

    def step(_: str) -> None:
        if not inherited:  # what fork(2) does to the descriptors
            names = {name: os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")}
            inherited.extend(os.dup(int(name)) for name, file in names.items() if file.endswith("/edits.lock"))

    log: Any = Log()
    file, other = EditFile(str(tmp_path), log, step), EditFile(str(tmp_path), log)
    edit = Edit(1, "backend.remove", "shop", "/", "http://b")
    try:
        file.write([edit], 2)
        assert len(inherited) == 1
        with pytest.raises(StartError, match="another process holds"):
            other.write([], 3)
        file.take()
        file.write([], 3)
        file.drop()
        assert file.read() == ((edit,), 2)
    finally:
        for descriptor in inherited:
            os.close(descriptor)
