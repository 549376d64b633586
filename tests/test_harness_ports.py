"""Free ports: never the same one twice, whoever asks."""

from __future__ import annotations

import socket
import subprocess
import sys

from .harness.ports import free_port
from .harness.terraster_process import ROOT

COUNT = 150  # more than a block


def test_two_runs_get_different_ports() -> None:
    code = f"from tests.harness.ports import free_port; print(*(free_port() for _ in range({COUNT})), flush=True); input()"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    given = [run.stdout.readline().split() for run in runs if run.stdout]
    said = [run.communicate("\n", timeout=30)[1] for run in runs]
    assert [(run.returncode, len(ports)) for run, ports in zip(runs, given, strict=True)] == [(0, COUNT)] * 3, said
    ours = [str(free_port()) for _ in range(COUNT)]
    assert len({*ours, *(port for one in given for port in one)}) == 4 * COUNT


def test_a_port_that_is_taken_is_passed_over() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port + 1)):
        assert free_port() != port + 1
