"""What the admin worker makes of orders that do not go through."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest

from terraster.admin.acme import Orderer
from terraster.admin.acme_process import OrderProcess
from terraster.certs.acme_job import Job
from terraster.config.authority import Acme
from terraster.config.snapshot import Snapshot, Tls

from .harness.tls_facts import tls_service
from .harness.waiting import wait_until
from .harness.ward import Lines


class Office:
    """An orderer whose master and whose process for orders the test is."""

    def __init__(self, folder: Path, refusal: dict[str, Any]) -> None:
        service = replace(tls_service("shop"), tls=Tls(domains=("a.test",), challenge="http-01"))
        snapshot = Snapshot(1, (), (service,), state_dir=str(folder), acme=Acme("https://acme.test/dir"))
        self.refusal = refusal
        self.proving = False
        self.log = Lines()
        self.orderer = Orderer(lambda: snapshot, self._ask, self.log)
        self.orderer._process = self  # type: ignore[assignment]

    def _ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        return self.refusal if self.proving else {"ok": True}

    def do(self, job: Job, lock: int) -> dict[str, Any]:
        """An order that fails if its answers are not taken."""
        self.proving = True
        answer = self.orderer._answer(job, {"ask": "present"})
        self.proving = False
        return {"failed": answer["why"]}


@pytest.mark.parametrize(
    ("upgrade", "failed", "state", "said"),
    [
        (True, 0, "waiting", "info service shop: its order waits for the end of the upgrade"),
        (False, 1, "failing", "error service shop: no certificate was obtained (failure 1): not taken; tried again at "),
    ],
)
def test_an_order_that_an_upgrade_interrupts_has_not_failed(
    tmp_path: Path, upgrade: bool, failed: int, state: str, said: str
) -> None:
    office = Office(tmp_path, {"ok": False, "upgrade": upgrade, "problems": ["not taken"]})
    assert office.orderer.counts() == ()
    office.orderer._turn()
    assert office.orderer.counts() == (("obtained", 0), ("failed", failed))
    (row,) = office.orderer.rows()
    assert (row["state"], row["failures"]) == (state, failed)
    assert [line for line in office.log.lines if line.startswith(said)], office.log.lines


def test_an_order_that_is_broken_off_can_bring_a_call_of_its_program_to_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the process gets TERM, and is not killed as long as it does not end."""
    program, up, told = tmp_path / "python", tmp_path / "up", tmp_path / "told"
    program.write_text(f"#!/bin/sh\ntrap 'echo TERM > {told}; exit 1' TERM\necho > {up}\nwhile :; do sleep 0.01; done\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    process = OrderProcess(lambda job, message: {})
    lock = os.open(os.devnull, os.O_RDONLY)
    try:
        order = gevent.spawn(process.do, Job(str(tmp_path), "https://acme.test/dir"), lock)
        wait_until(up.exists, pause=gevent.sleep)
        process.end()
        assert order.get(timeout=20) == {"failed": "the process that talks to the authority ended with 1"}
    finally:
        os.close(lock)
    assert told.read_text() == "TERM\n"
