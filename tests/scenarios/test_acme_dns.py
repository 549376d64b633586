"""Records of the DNS for an authority: whenever the process that orders is told to end, each is made once and removed once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from terraster.certs.acme_job import Job
from terraster.certs.acme_store import Store

from ..harness.pebble import Pebble
from ..harness.waiting import wait_until

pytestmark = pytest.mark.needs("pebble", "pebble-challtestsrv")

PROGRAM = """#!{python}
import json, os, sys, time, urllib.request
action, name, value = sys.argv[1:]
def note(word):
    with open({calls!r}, 'a') as file:
        print(word, action, name, value, file=file)
note('begun')
while os.path.exists({folder!r} + '/hold-' + action):
    time.sleep(0.01)
verb = {{'present': 'set-txt', 'cleanup': 'clear-txt'}}[action]
body = json.dumps({{'host': name + '.', 'value': value}}).encode()
urllib.request.urlopen(urllib.request.Request({names!r} + '/' + verb, body), timeout=5).read()
note('ended')
"""


class Office:
    """Where orders of a.test and *.a.test are made: an authority, the program for records, and what is kept of the order."""

    def __init__(self, folder: Path, pebble: Pebble) -> None:
        self.folder = folder
        self.store = Store(str(folder / "state"))
        hook = folder / "hook"
        self._calls = folder / "calls"
        self._calls.touch()
        names = pebble.names_url
        hook.write_text(PROGRAM.format(python=sys.executable, calls=str(self._calls), folder=str(folder), names=names))
        hook.chmod(0o755)
        self._job = Job(
            self.store.folder,
            pebble.directory,
            service="shop",
            names=("a.test", "*.a.test"),
            challenge="dns-01",
            ca_file=str(pebble.ca_file),
            dns_hook=str(hook),
        )

    def calls(self, word: str) -> list[str]:
        """What the program did, in order."""
        lines = self._calls.read_text().splitlines()
        return [line.removeprefix(f"{word} ") for line in lines if line.startswith(word)]

    def hold(self, action: str) -> Path:
        """The file that keeps the program in this action."""
        file = self.folder / f"hold-{action}"
        file.touch()
        return file

    def begin(self, stack: ExitStack) -> subprocess.Popen[bytes]:
        near, far = socket.socketpair()
        stack.callback(near.close)
        command = [sys.executable, "-m", "terraster.certs.acme_client", str(far.fileno())]
        process = subprocess.Popen(command, pass_fds=[far.fileno()])
        stack.callback(process.wait)
        stack.callback(process.kill)
        far.close()
        self._near = near.makefile("rw", encoding="utf-8", newline="\n")
        stack.callback(self._near.close)
        self._say(asdict(self._job))
        return process

    def _say(self, value: Any) -> None:
        self._near.write(json.dumps(value) + "\n")
        self._near.flush()

    def hear(self) -> dict[str, Any]:
        """Its next message, {} at its end."""
        line = self._near.readline()
        message: dict[str, Any] = json.loads(line) if line else {}
        return message

    def let_order(self) -> None:
        """It asks whether it may make an order: it may."""
        assert self.hear() == {"ask": "order"}
        self._say({"ok": True})

    def records(self) -> list[bool]:
        """True for each record that was made, False for one that was begun."""
        return [made for _name, _value, made in self.store.order("shop").get("records", [])]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with Pebble(tmp_path / "pebble", sleeps=1) as pebble:
        yield Office(tmp_path, pebble)


@pytest.mark.parametrize("moment", ["present", "authority", "cleanup"])
def test_an_order_that_is_ended_and_resumed_makes_and_removes_each_record_once(
    office: Office, stack: ExitStack, moment: str
) -> None:
    held = office.hold(moment) if moment != "authority" else None
    process = office.begin(stack)
    office.let_order()
    if held:
        wait_until(lambda: any(call.startswith(moment) for call in office.calls("begun")), deadline=60)
    else:
        wait_until(lambda: office.records() == [True, True], deadline=60)
    os.kill(process.pid, signal.SIGTERM)
    if held:
        held.unlink()
    assert office.hear() == {}
    assert process.wait(30) == 1
    office.begin(stack)
    assert "done" in office.hear()  # it did not ask for another order
    begun, ended = office.calls("begun"), office.calls("ended")
    assert begun == ended
    presented = [call.removeprefix("present ") for call in ended if call.startswith("present ")]
    removed = [call.removeprefix("cleanup ") for call in ended if call.startswith("cleanup ")]
    assert len(set(presented)) == len(presented) == 2
    assert sorted(presented) == sorted(removed)
    assert office.store.order("shop") == {}
