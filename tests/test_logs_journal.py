"""What the program's log says to systemd's journal, and how the journal is told from another reader."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from terraster.config.snapshot import AccessLog, Location, Service, Snapshot
from terraster.logs import journal

ROOT = Path(__file__).parent.parent

_SAY = """
from gunicorn.config import Config
from terraster.logs.program import ProgramLog
log = ProgramLog(Config())
log.set_level("debug")
log.debug("a detail")
log.info("all is well")
log.warning("100 % of two\\nlines")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("it failed")
log.critical("the end")
log.close()
"""


def said(stream_of: socket.socket | None) -> str:
    """What a program says on a socket, if `JOURNAL_STREAM` names ``stream_of``; None: that very socket."""
    near, far = socket.socketpair()
    status = os.fstat((far if stream_of is None else stream_of).fileno())
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
    with near:
        with far:
            subprocess.run([sys.executable, "-c", _SAY], stderr=far.fileno(), env=environ, timeout=30, check=True)
        return near.makefile().read()


def test_the_journal_gets_priorities_and_no_second_time() -> None:
    lines = said(None).splitlines()
    assert lines[:4] == ["<7>a detail", "<6>all is well", "<4>100 % of two", "<4>lines"]
    assert lines[4:6] == ["<3>it failed", "<3>Traceback (most recent call last):"]
    assert lines[-2:] == ["<3>ZeroDivisionError: division by zero", "<2>the end"]
    assert all(line.startswith("<3>") for line in lines[4:-1])


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["main", "--config", "bad.yaml"], 2, "<3>bad.yaml:1:1: unknown key `no_key`"),
        (["main", "--config", "port.yaml"], 1, "<3>terraster: cannot start: "),
        (["ctl", "--runtime-dir", "none", "reload"], 3, "<3>terrasterctl: "),
    ],
)
def test_what_fails_at_once_has_the_priority_of_an_error(command: list[str], code: int, said: str, tmp_path: Path) -> None:
    near, far = socket.socketpair()
    with near, far, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (tmp_path / "bad.yaml").write_text("no_key: 1\nbackends: [http://127.0.0.1:9]\n")
        (tmp_path / "port.yaml").write_text(
            f"listen: 127.0.0.1:{taken.getsockname()[1]}\nbackends: [http://127.0.0.1:9]\nruntime_dir: run\nstate_dir: state\n"
            "admin_api: off\nmetrics: off\nhealth_check: off\n"
        )
        status = os.fstat(far.fileno())
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in [*sys.path, str(ROOT)] if path)}
        environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
        done = subprocess.run(
            [sys.executable, "-m", f"terraster.cli.{command[0]}", *command[1:]],
            stderr=far.fileno(),
            env=environ,
            timeout=60,
            cwd=tmp_path,
        )
        far.close()
        lines = near.makefile().read().splitlines()
    assert done.returncode == code, lines
    assert any(line.startswith(said) for line in lines), lines
    assert all(line.startswith("<") for line in lines)


def test_another_reader_gets_time_and_process() -> None:
    with socket.socket() as elsewhere:
        text = said(elsewhere)
    assert " warning [" in text and not any(line.startswith("<") for line in text.splitlines())


@pytest.mark.parametrize("value", ["", ":", "8", "8:", "8:x", "0:0"])
def test_a_variable_that_names_nothing_is_no_journal(value: str) -> None:
    assert not journal.behind(2, {"JOURNAL_STREAM": value}) and not journal.behind(2, {})


def test_a_descriptor_that_is_closed_is_no_journal() -> None:
    reader, writer = os.pipe()
    status = os.fstat(writer)
    environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    assert journal.behind(writer, environ)
    os.close(reader)
    os.close(writer)
    assert not journal.behind(writer, environ)


@pytest.mark.parametrize(
    ("level", "prefix"), [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (50, 2)]
)
def test_priorities(level: int, prefix: int) -> None:
    assert journal.prioritized("a\n\nb", level) == f"<{prefix}>a\n<{prefix}>\n<{prefix}>b"


def test_a_configuration_that_sends_access_lines_to_the_journal_is_known() -> None:
    reader, writer = os.pipe()
    status = os.fstat(writer)
    environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    there, elsewhere = AccessLog(path=f"/dev/fd/{writer}"), AccessLog(path="/var/log/access.log")
    location = Location("site/", "/", access_log=there)
    for top, service, places, expected in (
        (elsewhere, elsewhere, (), False),
        (AccessLog(path=""), elsewhere, (), False),
        (there, elsewhere, (), True),
        (elsewhere, there, (), True),
        (elsewhere, elsewhere, (location,), True),
    ):
        snapshot = Snapshot(1, (), (Service("site", ("*",), (":80",), places, access_log=service),), access_log=top)
        assert journal.takes_access_lines(snapshot, environ) is expected
        assert not journal.takes_access_lines(snapshot, {})
    os.close(reader)
    os.close(writer)
