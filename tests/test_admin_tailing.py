"""The lines of all workers for their listeners: who is asked for what, and what a slow listener loses."""

from __future__ import annotations

import json
import logging
import marshal
import os
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from terraster.admin import tailing
from terraster.admin.tailing import KEPT, LISTENERS, Tailing
from terraster.errors import TerrasterError
from terraster.logs.log_channel import LogChannel
from terraster.logs.summary import FIELDS
from terraster.logs.tail import Wanted

from .harness.waiting import wait_until


def row(path: str, service: str = "shop", status: int = 200) -> tuple[Any, ...]:
    values: dict[str, Any] = {**dict.fromkeys(FIELDS, ""), "path": path, "service": service, "status": status}
    return tuple(values.values())


class House:
    """An admin worker and its channel. answers: of the workers by pid, that are told next. asked: for what, each time"""

    def __init__(self) -> None:
        self.channel = LogChannel()
        self.asked: list[Any] = []
        self.answers: dict[int, Any] | TerrasterError = {7: 0}
        self.silent: list[int] = []
        self.tailing = Tailing(self.channel.far, self.ask, logging.getLogger("test"))

    def ask(self, verb: str, what: str, about: str) -> dict[str, Any]:
        assert (verb, what) == ("seen", "tail")
        self.asked.append(json.loads(about))
        if isinstance(self.answers, TerrasterError):
            raise self.answers
        return {"ok": True, "answers": self.answers, "silent": self.silent}

    def send(self, *rows: tuple[Any, ...]) -> None:
        os.write(self.channel.near, marshal.dumps(list(rows)))

    def listen(self, wanted: Wanted | None = None, allowed: list[bool] | None = None) -> Any:
        frames = self.tailing.frames(wanted or Wanted(), lambda: not allowed or allowed[0])
        assert next(frames).startswith(b"retry:")
        return frames


def events(frames: Any, name: str) -> list[Any]:
    """The data of the next events, as soon as one has this name."""
    with gevent.Timeout(20):
        while True:
            found = [part.split("\n") for part in next(frames).decode().split("\n\n")]
            named = [lines[1].removeprefix("data:").strip() for lines in found if lines[0] == f"event: {name}"]
            if named:
                return [json.loads(data or "null") for data in named]


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(tailing, "AGAIN", 0.01)
    monkeypatch.setattr(tailing, "_STILL", 0.02)
    made = House()
    yield made
    made.tailing.close()
    gevent.sleep(0.05)
    os.close(made.channel.near)
    os.close(made.channel.far)


def test_each_listener_gets_what_it_wants(house: House) -> None:
    house.send(row("/old"))
    all_of_them, bad = house.listen(), house.listen(Wanted("", 500, 599))
    assert events(all_of_them, "workers") == [{"listening": [7], "silent": []}]
    events(bad, "workers")
    house.send(row("/a"), row("/b", status=502))
    assert [one["path"] for one in events(all_of_them, "request")] == ["/a", "/b"], "and none that was sent for others before"
    assert [one["path"] for one in events(bad, "request")] == ["/b"]
    assert sorted(house.asked[-1]) == [["", 0, 999, ""], ["", 500, 599, ""]]


def test_workers_are_asked_again_until_nobody_listens(house: House) -> None:
    frames = house.listen()
    events(frames, "workers")
    house.answers, house.silent = {8: 0}, [7]
    assert events(frames, "workers") == [{"listening": [8], "silent": [7]}], "one that was replaced, and one that hangs"
    frames.close()
    wait_until(lambda: house.asked[-1] == [], pause=gevent.sleep)
    gevent.sleep(0.05)
    many = len(house.asked)
    gevent.sleep(0.05)
    assert len(house.asked) == many
    again = house.listen()
    events(again, "workers")
    house.send(row("/a"))
    assert [one["path"] for one in events(again, "request")] == ["/a"]


def test_lost_lines_are_told(house: House) -> None:
    frames = house.listen()
    house.answers = {7: 5, 8: 2}
    assert events(frames, "lost")[0]["lines"] >= 7
    house.answers = {7: 0, 8: 0}
    for start in range(0, KEPT + 50, 50):
        house.send(*[row(f"/{number}") for number in range(start, start + 50)])
        gevent.sleep(0.001)
    (listener,) = house.tailing._listeners
    wait_until(lambda: listener.lines[-1][FIELDS.index("path")] == f"/{KEPT + 49}", pause=gevent.sleep, tolerate=(IndexError,))
    found = next(frames).decode()
    assert found.count("event: request") == KEPT and '/0"' not in found and f"/{KEPT + 49}" in found


def test_workers_that_cannot_be_asked_are_told(house: House) -> None:
    house.answers = TerrasterError("the master ended")
    assert events(house.listen(), "failure") == [{"detail": "the master ended"}]


def test_it_ends_with_the_login_and_with_the_worker(house: House) -> None:
    allowed = [True]
    one, other = house.listen(allowed=allowed), house.listen()
    allowed[0] = False
    assert events(one, "ended") == [None]
    house.tailing.close()
    assert events(other, "ended") == [None]


def test_the_number_of_listeners_has_a_bound(house: House) -> None:
    some = [house.listen() for _ in range(LISTENERS)]
    assert house.tailing.is_full
    some.pop().close()
    assert not house.tailing.is_full
