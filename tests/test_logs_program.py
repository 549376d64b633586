"""Where the program's own log goes, and what its lines look like."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .test_logs_receiver import entries

ROOT = Path(__file__).parent.parent

_SAY = """
import sys
from gunicorn.config import Config
from terraster.config.loggers import *
from terraster.logs.program import ProgramLog
log = ProgramLog(Config())
log.set_level("debug")
log.info("before")
config = {config}
log.configure(config)
log.debug("a detail")
log.warning("password=%s", "topsecret")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("it failed")
{more}
log.close()
"""


def said(folder: Path, config: str, more: str = "") -> str:
    """What it says on standard error with this configuration; other files lie in the folder."""
    source = _SAY.replace("{config}", config).replace("{more}", more)
    return subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
    ).stderr


def objects(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_json_in_a_file_and_text_on_the_terminal(tmp_path: Path) -> None:
    config = "ProgramLogger(('own.log',), console=True, encoding=Encoding(), json=True, masked=('password',))"
    text = said(tmp_path, config)
    assert re.search(r"^[-0-9T:.+]+ debug \[\d+\] a detail$", text, re.M) and " before\n" in text
    assert "Traceback (most" in text and "topsecret" not in text
    detail, warning, failed = objects(tmp_path / "own.log")
    assert list(detail) == ["time", "level", "logger", "caller", "msg", "pid"]
    assert (detail["level"], detail["logger"], detail["msg"], detail["caller"]) == ("debug", "terraster", "a detail", "<string>:11")
    assert (warning["level"], warning["msg"]) == ("warn", "password=****")
    assert failed["level"] == "error" and str(failed["stacktrace"]).endswith("ZeroDivisionError: division by zero")


def test_without_the_terminal_nothing_goes_there(tmp_path: Path) -> None:
    assert said(tmp_path, "ProgramLogger(('own.log', 'other.log'))").count("\n") == 1
    lines = (tmp_path / "own.log").read_text()
    assert lines == (tmp_path / "other.log").read_text()
    assert re.match(r"[-0-9T:.+]+ debug \[\d+\] a detail\n", lines)


def test_errors_go_to_a_place_of_their_own_as_well(tmp_path: Path) -> None:
    text = said(tmp_path, "ProgramLogger(('own.log',), ('/dev/fd/2', 'own.log', 'bad.log'))")
    assert "it failed" in text and "a detail" not in text
    assert (tmp_path / "own.log").read_text().count("it failed") == 1
    assert "a detail" not in (tmp_path / "bad.log").read_text() and "it failed" in (tmp_path / "bad.log").read_text()


def test_keys_and_forms(tmp_path: Path) -> None:
    encoding = (
        "Encoding(time_key='ts', level_key='l', name_key='', caller_key='at', function_key='f', message_key='m', stacktrace_key='tb', "
        "line_ending='\\r\\n', level_encoder='capital', time_encoder='millis', caller_encoder='full')"
    )
    said(tmp_path, f"ProgramLogger(('own.log',), encoding={encoding}, json=True)")
    assert (tmp_path / "own.log").read_bytes().count(b"}\r\n") == 3
    detail, warning, failed = objects(tmp_path / "own.log")
    assert list(detail) == ["ts", "l", "at", "f", "m", "pid"] and isinstance(detail["ts"], int)
    assert (warning["l"], warning["f"], warning["at"]) == ("WARN", "<module>", "<string>:12") and "tb" in failed


def test_text_with_an_encoding(tmp_path: Path) -> None:
    said(tmp_path, "ProgramLogger(('own.log',), encoding=Encoding(time_key='', level_encoder='capital', caller_key=''))")
    assert re.match(r"DEBUG terraster \[\d+\] a detail\n", (tmp_path / "own.log").read_text())


def test_development_says_where_a_warning_arose(tmp_path: Path) -> None:
    said(tmp_path, "ProgramLogger(('own.log',), encoding=Encoding(), json=True, traceback=True)")
    detail, warning, _ = objects(tmp_path / "own.log")
    assert "stacktrace" not in detail and 'File "<string>", line 12' in str(warning["stacktrace"])


@pytest.mark.parametrize(("thereafter", "count"), [(10, 3 + 2), (0, 3)])
def test_sampling_keeps_some_of_equal_lines(tmp_path: Path, thereafter: int, count: int) -> None:
    more = "import time\ntime.sleep(1.01 - time.time() % 1)\nfor number in range(23): log.info('again %s', 1)\nlog.info('again 2')"
    said(tmp_path, f"ProgramLogger(('own.log',), sampling=Sampling(3, {thereafter}))", more)
    text = (tmp_path / "own.log").read_text()
    assert (text.count("again 1"), text.count("again 2")) == (count, 1)


def test_syslog_and_the_journal_get_every_event_of_every_process_once(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        syslog.bind(str(tmp_path / "syslog"))
        journal.bind(str(tmp_path / "journal"))
        paths = f"('syslog:{tmp_path}/syslog?facility=local1', 'journald:{tmp_path}/journal')"
        more = "import os\nif os.fork() == 0:\n    log.forked()\n    log.error('of the child')\n    os._exit(0)\nos.wait()"
        assert said(tmp_path, f"ProgramLogger({paths})", more).count("\n") == 1
        for sock in (syslog, journal):
            sock.settimeout(5)
        lines = [syslog.recv(10000).decode() for _ in range(4)]
        found = [entries(journal.recv(10000)) for _ in range(4)]
    assert [re.sub(r"^<(\d+)>1 \S+Z \S+ terraster \d+ - - ", r"\1 ", line).split("\n")[0] for line in lines] == [
        "143 a detail",
        "140 password=topsecret",
        "139 it failed",
        "139 of the child",
    ]
    assert [(entry["PRIORITY"], entry["MESSAGE"].split("\n")[0]) for entry in found] == [
        ("7", "a detail"),
        ("4", "password=topsecret"),
        ("3", "it failed"),
        ("3", "of the child"),
    ]
    assert found[2]["MESSAGE"].endswith("ZeroDivisionError: division by zero") and found[2]["CODE_FILE"] == "<string>"


def test_json_on_a_journals_stream_has_priorities(tmp_path: Path) -> None:
    near, far = socket.socketpair()
    with near:
        with far:
            status = os.fstat(far.fileno())
            source = _SAY.replace("{config}", "ProgramLogger(('/dev/fd/2',), encoding=Encoding(), json=True)").replace("{more}", "")
            environ = {"PYTHONPATH": str(ROOT), "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
            subprocess.run([sys.executable, "-c", source], stderr=far.fileno(), timeout=30, check=True, env=environ)
        lines = near.makefile().read().splitlines()
    assert [line[:4] for line in lines] == ["<6>b", "<7>{", "<4>{", "<3>{"]
    assert json.loads(lines[3][3:])["msg"] == "it failed"


def test_a_rotated_file_is_opened_again(tmp_path: Path) -> None:
    more = "import os\nos.rename('own.log', 'old.log')\nlog.info('old')\nlog.reopen_files()\nlog.info('new')"
    said(tmp_path, "ProgramLogger(('own.log',))", more)
    assert "old" in (tmp_path / "old.log").read_text() and "a detail" in (tmp_path / "old.log").read_text()
    assert (tmp_path / "own.log").read_text().count("\n") == 1
