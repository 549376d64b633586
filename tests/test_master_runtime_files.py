"""What is made again of the files by which a running Terraster is found, without a master."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from terraster.master.listeners import Listeners
from terraster.master.pidfile import Pidfile
from terraster.master.runtime_files import RuntimeFiles


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, text: str, *arguments: object) -> None:
        self.lines.append(text % arguments)

    error = warning


class Scene:
    """A pid file, a control socket and one listener, in a runtime directory."""

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"
        self.run.mkdir(mode=0o700)
        self.log = Log()
        self.pid_file = Pidfile(str(self.run / "terraster.pid"))
        self.pid_file.create(os.getpid())
        self.listeners = Listeners()
        self.listener = f"unix:{folder}/listener"
        self.control = f"unix:{self.run}/control.sock"
        self.listeners.bind([self.listener, "127.0.0.1:0"])
        self.listeners.bind_control(self.control, aside=False)
        self.restored: list[list[str]] = []
        self.files = RuntimeFiles(
            self.pid_file, self.listeners, self.control, self.log, restored=self.restored.append, paused=lambda: False
        )

    def end(self) -> None:
        self.listeners.close_all(unlink=True)
        self.pid_file.unlink()


@pytest.fixture
def scene(sockets: Path) -> Iterator[Scene]:
    made = Scene(sockets)
    yield made
    made.end()


@pytest.fixture
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


def reaches(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as one:
        try:
            one.connect(address.removeprefix("unix:"))
        except OSError:
            return False
        return True


def test_nothing_is_made_again_that_is_there(scene: Scene) -> None:
    scene.files.look()
    assert (scene.log.lines, scene.restored) == ([], [])


def test_what_was_removed_is_made_again(scene: Scene) -> None:
    for path in (scene.listener, scene.control, scene.pid_file.fname):
        os.unlink(path.removeprefix("unix:"))
    scene.run.rmdir()
    scene.files.look()
    assert scene.restored == [[scene.listener, scene.control]]
    assert reaches(scene.listener) and reaches(scene.control)
    assert scene.pid_file.is_there() and Path(scene.pid_file.fname).read_text() == f"{os.getpid()}\n"
    assert len(scene.log.lines) == 3
    scene.files.look()
    assert len(scene.restored) == 1


def test_a_pid_file_of_another_master_is_left_to_it_and_said_once(scene: Scene) -> None:
    os.unlink(scene.pid_file.fname)
    other = Pidfile(scene.pid_file.fname)
    other.create(4711)
    for _ in range(2):
        scene.files.look()
    assert len(scene.log.lines) == 1 and "Already running on PID 4711" in scene.log.lines[0]
    other.unlink()
    scene.files.look()
    assert scene.pid_file.is_there()


def test_a_file_that_is_no_socket_is_left_alone(scene: Scene) -> None:
    path = Path(scene.listener.removeprefix("unix:"))
    path.unlink()
    path.write_text("mine")
    scene.files.look()
    assert path.read_text() == "mine" and "not a socket" in scene.log.lines[0]
    scene.listeners.close_all(unlink=True)
    assert path.exists()


def test_sockets_of_the_service_manager_are_left_to_it(scene: Scene) -> None:
    scene.listeners.activated = True
    os.unlink(scene.listener.removeprefix("unix:"))
    os.unlink(scene.control.removeprefix("unix:"))
    scene.files.look()
    assert scene.restored == [[scene.control]]
