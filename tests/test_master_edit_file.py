"""The file of edits, as a worker that is forked in the middle of an edit finds it."""

from __future__ import annotations

import os
import signal
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


def test_a_worker_forked_in_the_middle_of_an_edit_does_not_hold_the_lock_of_a_killed_master(tmp_path: Path) -> None:
    ready, go = os.pipe(), os.pipe()
    log: Any = Log()
    edit = Edit(1, "backend.remove", "shop", "/", "http://b")
    master = os.fork()
    if not master:
        file = EditFile(str(tmp_path), log)

        def step(_: str) -> None:
            if not os.fork():  # a worker, in which all participants abandon what only the master may hold
                file.abandon()
                os.write(ready[1], b"x")
                os.close(go[1])
                os.read(go[0], 1)
                os._exit(0)
            os.read(go[0], 1)

        file._step = step
        file.write([edit], 2)
        os._exit(1)
    os.close(go[0])
    try:
        assert os.read(ready[0], 1) == b"x"
        with pytest.raises(StartError, match="another process holds"):
            EditFile(str(tmp_path), log).write([], 3)
        os.kill(master, signal.SIGKILL)
        os.waitpid(master, 0)
        later = EditFile(str(tmp_path), log)
        later.write([edit], 3)
        later.take()
    finally:
        os.close(go[1])
        os.close(ready[0])
        os.close(ready[1])
    assert later.read() == ((edit,), 3)
