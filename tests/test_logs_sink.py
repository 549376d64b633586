"""Whole lines, whatever happens to the disk, the file or its reader; and what is lost is counted and said."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from terraster.logs.losses import Losses
from terraster.logs.sink import CALM, LOOK_EVERY, WARN_EVERY, Sink

LINES = b"".join(b"line %d\n" % n for n in range(200))


class Clock:
    """Monotonic seconds, set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def room_for(octets: int) -> Iterator[None]:
    """No file of this process can grow beyond this size: the kernel cuts writes off as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def no_warning(text: str) -> None:
    raise AssertionError(text)


def whole(path: Path) -> list[str]:
    """The lines of a log that ends with a newline."""
    text = path.read_text()
    assert text.endswith("\n")
    return text[:-1].split("\n")


def test_a_full_disk_loses_lines_and_says_so_once_a_minute() -> None:
    clock, warnings = Clock(), list[str]()
    sink = Sink("/dev/full", warnings.append, clock)
    for _ in range(3):
        sink.write(b"a\nb\n")
    assert sink.losses.lines == 6
    assert warnings == ["access log /dev/full: 2 lines lost so far: No space left on device"]
    clock.now += WARN_EVERY
    sink.tend(clock.now)  # no further line is lost, and the ones that were are reported all the same
    assert warnings[1:] == ["access log /dev/full: 6 lines lost so far: No space left on device"]
    clock.now += WARN_EVERY
    sink.write(b"c\n")
    assert sink.losses.lines == 7
    assert warnings[2:] == ["access log /dev/full: 7 lines lost so far: No space left on device"]
    sink.close()
    assert len(warnings) == 3


def test_when_there_is_room_again_a_warning_has_the_whole_number(tmp_path: Path) -> None:
    clock, warnings, path = Clock(), list[str](), tmp_path / "access.log"
    sink = Sink(str(path), warnings.append, clock)
    with room_for(0):
        for _ in range(5000):
            sink.write(b"a\nb\n")
            clock.now += 0.002
    assert warnings == [f"access log {path}: 2 lines lost so far: File too large"]
    sink.write(b"c\n")
    sink.tend(clock.now)
    assert len(warnings) == 1, "the trouble may come back at once"
    clock.now += CALM
    sink.tend(clock.now)
    assert warnings[1:] == [f"access log {path}: lines are written again; 10000 lines lost in 10 s"]
    clock.now += 10 * WARN_EVERY
    sink.tend(clock.now)
    sink.close()
    assert len(warnings) == 2 and path.read_bytes() == b"c\n" and sink.losses.lines == 10000


def test_a_line_cut_off_by_a_full_disk_is_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    sink, other = Sink(str(path), list[str]().append), Sink(str(path), no_warning)
    with room_for(1000):
        sink.write(LINES)
        assert path.read_bytes() == LINES[:999] + b"\n", "the half line is ended where it is"
    other.write(b"of another process\n")
    sink.write(b"after\n")
    assert whole(path)[-3:] == ["li", "of another process", "after"]
    assert sink.losses.lines == 200 - LINES[:1000].count(b"\n")


def test_a_line_cut_off_in_an_inherited_file_is_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "out"
    inherited = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.set_inheritable(inherited, True)
    try:
        sink = Sink(f"/dev/fd/{inherited}", list[str]().append)
        with room_for(1000):
            sink.write(LINES)
        os.write(inherited, b"of another process\n")
        sink.write(b"after\n")
        assert whole(path)[-3:] == ["li", "of another process", "after"]
    finally:
        os.close(inherited)


def test_a_disk_that_fills_and_empties_again_and_again_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    sinks = [Sink(str(path), list[str]().append) for _ in range(3)]
    written = 0
    for turn in range(30):
        with room_for(path.stat().st_size + 37 + turn):
            for number, sink in enumerate(sinks):
                sink.write(b"".join(b"<%d %d %s>\n" % (number, n, b"x" * n) for n in range(20)))
        for sink in sinks:
            sink.write(b"<whole>\n")
            written += 1
    lines = whole(path)
    assert lines.count("<whole>") == written
    assert all(line.count("<") <= 1 and line.count(">") <= 1 for line in lines)


def test_a_line_cut_off_by_a_power_failure_is_ended_by_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(b"whole\nhal")
    for sink in [Sink(str(path), no_warning) for _ in range(3)]:
        sink.write(b"next\n")
    assert whole(path) == ["whole", "hal", "next", "next", "next"]


def test_a_line_cut_off_because_its_process_was_killed_is_ended_by_the_next_write(tmp_path: Path) -> None:
    """Of any process, and each time; the half line is counted once."""
    path = tmp_path / "access.log"
    warnings: list[str] = []
    one, other = Sink(str(path), warnings.append), Sink(str(path), warnings.append)
    expected: list[str] = []
    for number, sink in enumerate((one, other, one, one, other)):
        sink.write(b"before %d\n" % number)
        with open(path, "ab") as killed:
            killed.write(b"half %d" % number)
        other.write(b"after %d\n" % number)
        one.write(b"later %d\n" % number)
        expected += [f"before {number}", "half ", f"after {number}", f"later {number}"]
        assert whole(path) == expected
    assert (one.losses.lines, other.losses.lines) == (0, 5)
    assert warnings == [f"access log {path}: 1 line lost so far: the process that wrote it was killed meanwhile"]


def test_a_long_half_line_is_ended_once_by_a_write_in_several_slices(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    sink = Sink(str(path), list[str]().append)
    sink.write(LINES)
    with open(path, "ab") as killed:
        killed.write(b"x" * 100_000)
    sink.write(LINES * 100)  # in several slices
    assert path.read_bytes() == LINES + b"x" * 99_999 + b"\n" + LINES * 100
    assert sink.losses.lines == 1


def test_processes_with_one_descriptor_take_no_line_of_each_other_for_a_half_line(tmp_path: Path) -> None:
    """They share its position, as those of the program's log do."""
    path = tmp_path / "terraster.log"
    sink = Sink(str(path), no_warning)
    children = []
    for number in range(3):
        child = os.fork()
        if not child:
            for turn in range(1000):
                sink.write(b"%d of process %d%s\n" % (turn, number, b"." * (turn % 50)))
            os._exit(sink.losses.lines)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    expected = [f"{turn} of process {number}{'.' * (turn % 50)}" for turn in range(1000) for number in range(3)]
    assert sorted(whole(path)) == sorted(expected)


def test_a_write_of_another_process_that_is_under_way_is_not_taken_for_a_half_line(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(b"begun by another process, ")
    sink = Sink(str(path), no_warning)
    with open(path, "ab") as other:
        other.write(b"and ended\n")
    sink.write(b"next\n")
    assert whole(path) == ["begun by another process, and ended", "next"]


def test_a_process_that_lost_its_core_in_the_middle_of_a_write_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If its line were ended, an empty one would stand behind it."""
    path = tmp_path / "access.log"
    path.write_bytes(b"begun by another process, ")
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 20:
            with open(path, "ab") as other:
                other.write(b"and ended\n")

    monkeypatch.setattr("terraster.logs.sink.get_original", lambda *_: pause, raising=False)
    Sink(str(path), no_warning).write(b"next\n")
    assert whole(path) == ["begun by another process, and ended", "next"]
    assert pauses == [0.001] * 20


def test_a_file_that_was_removed_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    sink = Sink(str(path), no_warning)
    sink.write(b"1\n")
    path.unlink()
    sink.tend(2000.0)
    assert not path.exists(), "at the first look a rotation may be about to make it"
    sink.tend(2000.0 + LOOK_EVERY)
    sink.write(b"2\n")
    assert path.read_bytes() == b"2\n"


def test_a_file_that_was_renamed_gets_a_successor(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    sink = Sink(str(path), no_warning)
    path.rename(tmp_path / "access.log.1")
    path.write_bytes(b"")
    sink.tend(2000.0)
    sink.write(b"1\n")
    sink.tend(2000.0 + LOOK_EVERY)
    sink.write(b"2\n")
    assert (path.read_bytes(), (tmp_path / "access.log.1").read_bytes()) == (b"2\n", b"1\n")


def test_a_directory_that_vanished_costs_lines_that_are_counted_until_it_is_back(tmp_path: Path) -> None:
    folder, warnings, clock = tmp_path / "logs", list[str](), Clock()
    folder.mkdir()
    sink = Sink(str(folder / "access.log"), warnings.append, clock)
    sink.write(b"1\n")
    (folder / "access.log").unlink()
    folder.rmdir()
    for _ in range(10):
        sink.tend(clock.now)
        clock.now += LOOK_EVERY
    sink.write(b"2\n")
    sink.write(b"3\n")
    assert sink.losses.lines == 2
    assert len(warnings) == 1 and "was removed and cannot be made again, so lines are lost: No such file" in warnings[0]
    folder.mkdir()
    sink.write(b"4\n")
    clock.now += CALM
    sink.tend(clock.now)
    assert (folder / "access.log").read_bytes() == b"4\n"
    assert warnings[1].endswith("lines are written again; 2 lines lost in 0 s")


def test_a_directory_that_was_renamed_is_told_once_a_minute(tmp_path: Path) -> None:
    folder, warnings, clock = tmp_path / "logs", list[str](), Clock()
    folder.mkdir()
    sink = Sink(str(folder / "access.log"), warnings.append, clock)
    folder.rename(tmp_path / "moved")
    for _ in range(90):
        sink.tend(clock.now)
        clock.now += LOOK_EVERY
    sink.write(b"1\n")
    assert (tmp_path / "moved" / "access.log").read_bytes() == b"1\n" and sink.losses.lines == 0
    assert len(warnings) == 2 and all("still writing to the old file: No such file" in warning for warning in warnings)


def test_a_named_pipe_without_a_reader_costs_lines_and_gets_them_with_one(tmp_path: Path) -> None:
    path, warnings = tmp_path / "fifo", list[str]()
    os.mkfifo(path)
    sink = Sink(str(path), warnings.append, must=False)
    sink.write(b"1\n")
    assert sink.losses.lines == 1 and all(warning.endswith("no process reads this pipe") for warning in warnings)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink.write(b"2\n")
    assert os.read(reader, 100) == b"2\n"
    os.close(reader)
    sink.write(b"3\n")
    assert sink.losses.lines == 2
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink.write(b"4\n")
    assert os.read(reader, 100) == b"4\n"
    os.close(reader)
    sink.close()


def test_sinks_may_count_together() -> None:
    losses = Losses()
    for _ in range(2):
        Sink("/dev/full", list[str]().append, losses=losses).write(b"a\nb\n")
    assert losses.lines == 4 and os.strerror(losses.why) == "No space left on device"


_AS_ANOTHER = """
import os, sys
from terraster.logs.sink import Sink
os.setgid(65534)
os.setuid(65534)
for path in sys.argv[1:]:
    sink = Sink(path, sys.exit)
    sink.write(f"to {path}\\n".encode())
    sink.close()
"""


def children_say(source: str, *arguments: str, **streams: object) -> subprocess.CompletedProcess[bytes]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-c", source, *arguments], env=environ, timeout=30, check=True, **streams)  # type: ignore[call-overload,no-any-return]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_pipe_of_another_user_is_written_by_its_descriptor() -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    names = ("/dev/stdout", "/proc/self/fd/1", "-", "stdout", "/dev/fd/1", f"/dev/fd/{writer}")
    done = children_say(_AS_ANOTHER, *names, stdout=subprocess.PIPE, pass_fds=(writer,))
    os.close(writer)
    with open(reader, "rb") as rest:
        assert (done.stdout + rest.read()).decode() == "".join(f"to {name}\n" for name in names)


@pytest.mark.parametrize("name", ["stderr", "/dev/stderr", "/dev/fd/2", "/proc/self/fd/2", "link"])
def test_a_socket_is_written_by_its_descriptor(name: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stderr")
    path = str(tmp_path / "link") if name == "link" else name
    reader, writer = socket.socketpair()
    with reader, writer:
        source = "import sys\nfrom terraster.logs.sink import Sink\nSink(sys.argv[1], sys.exit).write(b'hello\\n')"
        children_say(source, path, stderr=writer.fileno())
        assert reader.recv(100) == b"hello\n"
