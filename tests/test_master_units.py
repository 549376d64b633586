"""The systemd units: systemd itself has nothing to say about them, and they promise what the master does."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from terraster.config.directories import runtime_dir, state_dir

from .harness.configuration import load

UNITS = Path(__file__).resolve().parent.parent / "systemd"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (package systemd)")
@pytest.mark.parametrize("unit", ["terraster.service", "terraster.socket"])
def test_systemd_analyze_is_silent(unit: str) -> None:
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(UNITS / unit)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def service() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / "terraster.service")
    return parser["Service"]


def environment() -> list[str]:
    """The variables that the unit sets."""
    lines = (UNITS / "terraster.service").read_text().splitlines()
    return [line.removeprefix("Environment=") for line in lines if line.startswith("Environment=")]


def test_the_unit_and_the_master_agree() -> None:
    unit = service()
    assert unit["Type"] == "notify" and unit["NotifyAccess"] == "main"
    assert unit["KillMode"] == "process" and unit["RuntimeDirectoryPreserve"] == "restart"
    assert unit["ExecStop"].split()[:2] == ["-/usr/bin/env", "terrasterctl"] and unit["ExecStop"].endswith(" stop")
    assert unit["RestartPreventExitStatus"] == "2"
    assert unit["ExecStart"].split()[:2] == ["/usr/bin/env", "terraster"]
    assert unit["ExecReload"].split()[:2] == ["/usr/bin/env", "terrasterctl"] and unit["ExecReload"].endswith(" reload")
    assert unit["RuntimeDirectory"] == unit["StateDirectory"] == unit["LogsDirectory"] == "terraster"


def test_the_service_has_no_right_that_it_does_not_need() -> None:
    unit = service()
    assert unit["User"] == "terraster"
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"
    for key in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "MemoryDenyWriteExecute", "RestrictNamespaces"):
        assert unit[key] == "true"
    assert unit["ProtectSystem"] == "strict"


def test_access_lines_go_to_a_file_that_the_group_may_read(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = service()
    variables = dict(value.split("=", 1) for value in environment())
    folder = Path("/var/log", unit["LogsDirectory"])
    assert Path(variables["TERRASTER_ACCESS_LOG"].replace("%L", "/var/log")).parent == folder
    assert "DynamicUser" not in unit, "systemd keeps the logs of a dynamic user where only root may go"
    assert unit["LogsDirectoryMode"] == "0750" and 0o640 & ~int(unit["UMask"], 8) == 0o640
    assert unit["LogRateLimitIntervalSec"] == "0" and unit["SyslogIdentifier"] == "terraster"
    monkeypatch.setenv("TERRASTER_ACCESS_LOG", "/dev/stderr")  # a file that exists
    assert load(str(UNITS.parent / "etc" / "terraster.yaml")).access_log.path == "/dev/fd/2"
    monkeypatch.delenv("TERRASTER_ACCESS_LOG")
    assert load(str(UNITS.parent / "etc" / "terraster.yaml")).access_log.path == "-"


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None or os.geteuid() != 0, reason="needs systemd-sysusers and root")
def test_the_user_of_the_service_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    command = ["systemd-sysusers", f"--root={tmp_path}", str(UNITS / "terraster.sysusers")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    (user,) = [line.split(":") for line in (tmp_path / "etc" / "passwd").read_text().splitlines()]
    (group,) = [line.split(":") for line in (tmp_path / "etc" / "group").read_text().splitlines()]
    assert user[0] == group[0] == service()["User"] and user[3] == group[2]


def test_the_service_and_its_operator_mean_the_same_directories() -> None:
    unit = service()
    given = {"RUNTIME_DIRECTORY": f"/run/{unit['RuntimeDirectory']}", "STATE_DIRECTORY": f"/var/lib/{unit['StateDirectory']}"}
    somebody = 61184
    assert runtime_dir(given, somebody) == runtime_dir({}, 0) == "/run/terraster"
    assert state_dir(given, somebody) == state_dir({}, 0) == "/var/lib/terraster"
    assert "--runtime-dir" not in unit["ExecReload"]
