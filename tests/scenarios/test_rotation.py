"""The shipped file for logrotate, tried with logrotate itself."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from ..harness.backends import ok
from ..harness.client import get
from ..harness.terraster_process import Terraster
from ..harness.waiting import wait_until

SHIPPED = Path(__file__).parents[2] / "etc" / "terraster.logrotate"
LOGROTATE = shutil.which("logrotate", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def ours(folder: Path, master: int) -> Path:
    """The shipped file for the logs of this folder, with this user in place of the service's, and a signal to this master."""
    text = SHIPPED.read_text()
    user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    text, logs = re.subn(r"/var/log/terraster/\*\.log", f"{folder}/*.log", text)
    text, users = re.subn(r"\bterraster terraster\b", f"{user} {group}", text)
    text, scripts = re.subn(r"(?<=postrotate\n).*?(?=    endscript)", f"        kill -USR1 {master}\n", text, flags=re.DOTALL)
    assert (logs, users, scripts) == (1, 2, 1)
    file = folder / "logrotate.conf"
    file.write_text(text)
    file.chmod(0o644)
    return file


def rotate(file: Path) -> None:
    command = [str(LOGROTATE), "--force", "--state", str(file.with_suffix(".state")), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(LOGROTATE is None, reason="needs logrotate")
def test_logrotate_rotates_the_access_log_and_no_line_is_lost(fresh, backend, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o750)
    proxy: Terraster = fresh(backend(answer=ok()), workers=2, access_log={"path": str(logs / "access.log"), "format": "{uri}"})
    file = ours(logs, proxy.status()["pid"])
    sent: list[str] = []
    for rotation in range(1, 4):
        for number in range(20):
            sent.append(f"/{rotation}/{number}")
            get(proxy.address, sent[-1])
        wait_until(lambda: len(lines(logs)) >= len(sent))  # what is empty is not rotated
        inode = (logs / "access.log").stat().st_ino
        rotate(file)
        assert (logs / "access.log.1").stat().st_ino == inode
        for number in range(20, 30):  # while the workers open the new file
            sent.append(f"/{rotation}/{number}")
            get(proxy.address, sent[-1])
        new = (logs / "access.log").stat().st_ino
        wait_until(lambda new=new: all(opened(pid) == {new} for pid in workers(proxy)))
    assert (logs / "access.log.2.gz").exists() and stat.S_IMODE((logs / "access.log").stat().st_mode) == 0o640
    wait_until(lambda: len(lines(logs)) >= len(sent))
    assert sorted(lines(logs)) == sorted(sent)


def workers(proxy: Terraster) -> list[int]:
    return [worker["pid"] for worker in proxy.status()["workers"] if worker["role"] == "proxy"]


def opened(pid: int) -> set[int]:
    """The inodes of the access logs that a process has open."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        link = f"/proc/{pid}/fd/{name}"
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if "/access.log" in os.readlink(link):
                found.add(os.stat(link).st_ino)
    return found


def lines(folder: Path) -> list[str]:
    """All lines of the log and of the rotated ones."""
    found: list[str] = []
    for file in folder.glob("access.log*"):
        read = ["zcat", str(file)] if file.suffix == ".gz" else ["cat", str(file)]
        found += subprocess.run(read, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    return found
