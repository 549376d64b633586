"""`terrasterctl doctor` as a command, without a running Terraster: a limit, a key and a name server that are really wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import yaml

from terraster.cli.control import Control, Refused
from terraster.cli.doctor import doctor, shown
from terraster.doctor.finding import Finding

from .harness.authority import Authority
from .harness.shapes import unlawful

NOBODY = 65534
LIMITED = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)); from terraster.cli.ctl import main; sys.exit(main())"


def configured(folder: Path, nameserver: str) -> Path:
    chain, key = Authority().issue("shop.test", days=400).write(folder)
    key.chmod(0)  # its owner may not read it; root may, but Terraster would run as the owner of `state_dir`
    (folder / "state").mkdir()
    if os.geteuid() == 0:
        os.chown(folder / "state", NOBODY, NOBODY)
    service = {
        "name": "shop",
        "host": "shop.test",
        "tls": {"cert_file": str(chain), "key_file": str(key)},
        "locations": [{"path": "/", "backends": ["http://backend.terraster.test:80"]}],
    }
    values: dict[str, Any] = {"listen": "127.0.0.1:8443", "state_dir": str(folder / "state"), "runtime_dir": str(folder / "run")}
    values |= {"nameservers": [nameserver], "access_log": str(folder / "access.log"), "services": [service]}
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def test_a_limit_a_key_and_a_name_server_that_are_wrong(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        nameserver = f"127.0.0.1:{free.getsockname()[1]}"
    file = configured(tmp_path, nameserver)  # its port is closed by now
    command = [sys.executable, "-c", LIMITED, "--config", str(file), "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done
    document = json.loads(done.stdout)
    assert unlawful("doctor", document) == [] and document["ok"] is document["running"] is False
    found = {(one["check"], one["severity"]): one["what"] for one in document["findings"]}
    assert "A process may have 256 file descriptors: a worker takes 95 clients at most" in found["descriptors", "warning"]
    assert str(tmp_path) in found["permissions", "problem"]
    assert "backend.terraster.test of a backend does not resolve" in found["dns", "problem"]
    assert ("running", "note") in found


def test_another_host_cannot_be_looked_at() -> None:
    with pytest.raises(Refused, match="run it on the host of Terraster"):
        doctor(Control("", 1.0), Namespace(config=None, json=False))


@pytest.mark.parametrize("colour", [False, True])
def test_what_people_read(colour: bool) -> None:
    findings = [Finding("disk", "problem", "It is full. " * 10, "Why.", "Do."), Finding("clock", "note", "Odd.", "Why.", "Do.")]
    text = shown(findings, colour=colour, width=60)
    assert all(len(line) <= 60 + 9 * colour for line in text.splitlines()) and text.endswith("1 problem, 1 note\n")
    assert ("\x1b" in text) is colour and "PROBLEM  disk" in text and "  To do: Do." in text
    assert "nothing found" in shown([], colour=colour, width=60)
