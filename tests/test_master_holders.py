"""Who holds a port: found among the processes of this host."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from terraster.master.holders import holder

HOLD = "import socket; s = socket.create_server((HOST, 0), family=FAMILY); print(s.getsockname()[1], flush=True); input()"


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", "socket.AF_INET"), ("::1", "socket.AF_INET6")])
def test_the_process_is_named(host: str, family: str) -> None:
    code = HOLD.replace("HOST", repr(host)).replace("FAMILY", family)
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None and program.stdout is not None
        port = int(program.stdout.readline())
        with open(f"/proc/{program.pid}/comm") as stream:
            assert holder(port) == f"process {program.pid} ({stream.read().strip()})"
        program.stdin.close()


def test_nobody_is_named_for_a_port_that_is_free_or_only_connected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
    with client:
        assert holder(port) == "" and holder(client.getsockname()[1]) == ""


def test_a_process_that_may_not_be_looked_at_is_called_by_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(os, "listdir", lambda path: ["1"] if path == "/proc" else [])
        assert holder(server.getsockname()[1]).startswith("a process of user ")
