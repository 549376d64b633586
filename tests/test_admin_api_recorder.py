"""The rows that calls of the API leave."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gevent.event import AsyncResult

from terraster.admin.api_recorder import BURST, ApiRecorder
from terraster.admin.auditor import Auditor
from terraster.api.call import Caller, Credentials, Effect, Request, Role
from terraster.api.operation import Operation
from terraster.api.router import Api
from terraster.audit.log import AuditLog
from terraster.worker.channel import ChannelClosed
from terraster.worker.process import Process

ALICE = Caller("alice", Role.OPERATOR, "token", "192.0.2.7")
FROM = Credentials(address="192.0.2.7")


class Log:
    """A program's log that nobody reads."""

    def info(self, *_: Any) -> None: ...

    error = warning = info


class House:
    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.log = AuditLog(str(folder / "audit"), str)
        self.auditor = Auditor(self.log, lambda: SimpleNamespace(audit_days=365), Log())
        self.recorder = ApiRecorder(self.auditor, lambda: self.now)

    def rows(self) -> list[dict[str, Any]]:
        return list(self.log.rows())[::-1]

    def strangers(self, count: int, status: int = 401) -> None:
        for _ in range(count):
            self.recorder.record(None, "drainBackend", Effect(outcome="who are you"), "r", status, FROM)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_call_leaves_its_row(house: House) -> None:
    effect = Effect("shop/ http://b", {"weight": 1}, {"weight": 2, "token": "x1"}, "ticket 4711", 7)
    house.recorder.record(ALICE, "patchBackend", effect, "r1", 200, FROM)
    house.recorder.record(ALICE, "patchBackend", Effect(outcome="it has changed"), "r2", 412, FROM)
    house.recorder.record(ALICE, "patchBackend", Effect(outcome="the master has gone"), "r3", 503, FROM)
    done, refused, failed = house.rows()
    assert (done["user"], done["role"], done["how"], done["address"]) == ("alice", "operator", "token", "192.0.2.7")
    assert (done["action"], done["target"], done["reason"]) == ("patchBackend", "shop/ http://b", "ticket 4711")
    assert (done["before"], done["after"], done["generation"]) == ({"weight": 1}, {"weight": 2, "token": "***"}, 7)
    assert (done["outcome"], done["detail"], done["request_id"]) == ("done", "", "r1")
    assert (refused["outcome"], refused["detail"]) == ("refused", "412: it has changed")
    assert (failed["outcome"], failed["detail"]) == ("failed", "503: the master has gone")
    assert house.log.verify().problem == ""


def test_strangers_cannot_fill_the_log(house: House) -> None:
    house.strangers(int(BURST) + 500)
    assert len(house.rows()) == BURST
    house.now += 10.0
    house.strangers(3, 403)
    last = house.rows()[int(BURST) :]
    assert [row["action"] for row in last] == ["audit.strangers", "drainBackend", "drainBackend"]
    assert last[0]["detail"].startswith("500 more calls") and last[1]["user"] == ""
    house.recorder.record(ALICE, "patchBackend", Effect(), "r", 200, FROM)
    assert "1 more call" in house.rows()[-2]["detail"] and house.rows()[-1]["user"] == "alice"


@pytest.mark.parametrize(("status", "target"), [(422, ""), (415, ""), (408, ""), (503, "user ada"), (204, "")])
def test_nobody_cannot_fill_the_log_by_calls_in_vain(house: House, status: int, target: str) -> None:
    for _ in range(int(BURST) + 5):
        house.recorder.record(None, "login", Effect(target), "r", status, FROM)
    assert len(house.rows()) == BURST
    house.recorder.record(None, "login", Effect("user ada", user="ada"), "r", 200, FROM)
    assert "5 more calls" in house.rows()[-2]["detail"]
    assert (house.rows()[-1]["user"], house.rows()[-1]["target"]) == ("ada", "user ada"), "a login is from who it proved to be"


def test_a_call_is_noted_before_it_changes_anything(house: House, tmp_path: Path) -> None:
    """The note of a process that is killed becomes a row (`test_audit_log.py`)."""
    token = house.recorder.begin(ALICE, "patchBackend", "r1", FROM)
    assert [note.name for note in (tmp_path / "audit").glob("begun-*")] == [token.partition("/")[0]]
    house.strangers(int(BURST))
    house.recorder.record(
        ALICE, "patchBackend", Effect(outcome="not yours"), "r1", 403, FROM, token
    )  # it was noted, so it has a row
    assert house.rows()[-1]["request_id"] == "r1" and list((tmp_path / "audit").glob("begun-*")) == []


def test_a_change_has_the_action_that_terrasterctl_has_for_it(house: House, tmp_path: Path) -> None:
    token = house.recorder.begin(ALICE, "changeBackend", "r1", FROM)
    assert '"action": "backend.set"' in (tmp_path / "audit" / token).read_text()
    house.recorder.record(ALICE, "changeBackend", Effect(action="backend.drain"), "r1", 200, FROM, token)
    house.recorder.record(ALICE, "addBackend", Effect(), "r2", 201, FROM)
    house.recorder.record(ALICE, "addUser", Effect(), "r3", 201, FROM)
    assert [row["action"] for row in house.rows()] == ["backend.drain", "backend.add", "addUser"]


def test_a_change_whose_answer_did_not_come_is_not_told_as_failed(house: House) -> None:
    child: Any = Process.__new__(Process)
    waiting = AsyncResult()
    child._questions, child._orphaned = {1: waiting}, lambda: None
    child.channel = SimpleNamespace(receive=end)
    child._listen_to_master()
    table = Operation(
        method="POST", path="/api/x", id="changeX", tag="t", summary="s", handle=lambda _: waiting.get(), role=Role.OPERATOR
    )
    api = Api([table], SimpleNamespace(identify=lambda _: ALICE, hint=str), house.recorder, Log())
    reply = api.answer(Request("POST", "/api/x", "", {}, None, bytes, FROM, "r1"))
    (row,) = house.rows()
    assert reply.status == 503 and row["outcome"] == "unknown" and "the outcome is unknown" in row["detail"]


def end() -> Any:
    raise ChannelClosed("end")
