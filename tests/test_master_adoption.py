"""What a new master takes over from the workers of masters that were killed. The workers are sockets of this process that answer as told."""

from __future__ import annotations

import os
import signal
import socket as plain
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket

from terraster.master.adoption import Adoption
from terraster.master.shared import COUNTERS
from terraster.state.cells import Header
from terraster.state.table import Table
from terraster.worker.channel import Channel, ChannelClosed
from terraster.worker.orphan import PREFIX, facts

Answer = Callable[[Channel, str], None]


class Log:
    """The program's log: warnings only."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def warning(self, text: str, *more: Any) -> None:
        self.said.append(text % more)

    info = warning


class Worker:
    """A socket in the runtime directory, and what it answers: by question, a message or a function that sends."""

    def __init__(self, path: Path, answers: dict[str, Any], descriptors: list[int]) -> None:
        self._answers = answers
        self._descriptors = descriptors
        self.asked: list[str] = []
        self._socket = socket.socket(plain.AF_UNIX, plain.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(8)
        self._runner = gevent.spawn(self._run)

    def _run(self) -> None:
        while True:
            connection, _address = self._socket.accept()
            gevent.spawn(self._answer, Channel(connection.detach()))

    def _answer(self, channel: Channel) -> None:
        try:
            while True:
                (question,), _none = channel.receive()
                self.asked.append(question)
                answer = self._answers[question]
                if isinstance(answer, bytes):
                    channel._socket.sendall(answer)
                else:
                    channel.send(answer, self._descriptors if question == "describe" else None)
        except ChannelClosed:
            channel.close()

    def close(self) -> None:
        self._runner.kill()
        self._socket.close()


class House:
    """A runtime directory with workers, and the adoption of a new master."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = Log()
        self.adoption = Adoption(str(directory), self.log)  # type: ignore[arg-type]
        self.workers: list[Worker] = []
        self.listener = plain.create_server(("127.0.0.1", 0))

    def table(self, version: int = 0) -> int:
        """The descriptor of a table, of another version if that is not 0."""
        table = Table(8, 8, 5, COUNTERS)
        if version:
            table.q[Header.VERSION] = version
        return table.descriptor

    def worker(self, known: Any, table: int, *, generation: int = 1, began: int = 1, describe: Any = None, **told: Any) -> Worker:
        described = {**facts(1, "proxy", generation, False, began), "listeners": ["127.0.0.1:80"], **told}
        answers = {"describe": ("orphan", described) if describe is None else describe, "leases": ("leases", known)}
        path = self.directory / f"{PREFIX}{len(self.workers)}.sock"
        self.workers.append(Worker(path, answers, [table, self.listener.fileno()]))
        return self.workers[-1]

    def look(self, times: int = 1) -> None:
        left = [None] * times
        self.adoption.look(lambda: left.pop() is None and not left)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.adoption.close()
    made.listener.close()
    for one in made.workers:
        one.close()


def open_descriptors() -> int:
    gevent.sleep(0.01)  # the other end closes its own
    return len(os.listdir("/proc/self/fd"))


def at(slot: int, **backends: int) -> tuple[int, list[tuple[str, str, int]], list[Any]]:
    """A location as a worker knows it."""
    return slot, [(name, f"http://{name}", place) for name, place in backends.items()], []


def test_the_newest_master_is_the_one_that_began_last_whatever_its_generation(house: House) -> None:
    table = house.table()
    house.worker({"/": at(0, a=0, b=1), "/old": at(2, old=4)}, table, generation=9, began=100)
    older = house.worker({"/": at(0, a=0, c=1)}, table, generation=1, began=200)
    house.worker({"/": at(0, a=0, b=2, c=1), "/new": at(1, new=3)}, table, generation=2, began=200)
    house.look()
    found = house.adoption.table()
    assert found is not None
    assert found[1] == {"/": at(0, a=0, b=2, c=1), "/new": at(1, new=3), "/old": at(2, old=4)}
    assert older.asked == ["describe"], "the newest of its master tells"


def test_what_only_an_older_master_knew_keeps_its_slot(house: House) -> None:
    """Its workers count there. What it knew of a slot or an id that the newer one knows too does not count."""
    table = house.table()
    old = (
        0,
        [("a", "http://n", 0), ("b", "http://n", 5), ("x", "http://n", 3)],
        [("http://n", [7], [("c", 2), ("y", 3)]), ("http://m", [8], [])],
    )
    house.worker({"/": old, "/other": (1, [], [("http://o", [9], [("d", 4)])])}, table, began=1)
    house.worker({"/": (0, [("a", "http://n", 0), ("b", "http://n", 1)], [("http://n", [1], [("z", 3)])])}, table, began=2)
    house.look()
    found = house.adoption.table()
    assert found is not None
    assert found[1] == {
        "/": (0, [("a", "http://n", 0), ("b", "http://n", 1)], [("http://n", [1], [("z", 3), ("c", 2)])]),
        "/other": (1, [], [("http://o", [9], [("d", 4)])]),
    }


def test_of_several_tables_the_newest_that_can_be_used_counts(house: House) -> None:
    house.worker({"/": at(0, a=0)}, house.table(), began=1)
    house.worker({"/": at(0, a=1)}, house.table(), began=2)
    house.worker({"/": at(0, a=2)}, house.table(version=99), began=3)
    house.look()
    found = house.adoption.table()
    assert found is not None and found[1] == {"/": at(0, a=1)}
    assert len(house.log.said) == 1 and "go on from an older shared table" in house.log.said[0] and "99" in house.log.said[0]


def test_a_table_that_is_refused_leaves_no_descriptor_open(house: House) -> None:
    table = house.table(version=99)
    house.worker({}, table)
    before = open_descriptors()
    house.look()
    for descriptor in house.adoption.listeners().values():
        os.close(descriptor)
    assert house.adoption.table() is None
    house.adoption.close()
    assert open_descriptors() == before
    assert len(house.log.said) == 1 and house.log.said[0].startswith("counters begin anew: ")


PICKLED = b"\0\0\0\x06\0\x80\x04half"


@pytest.mark.parametrize(
    "told",
    [
        {"describe": ()},
        {"describe": ("orphan",)},
        {"describe": ("orphan", {"pid": 1})},
        {"describe": ("something else", {})},
        {"describe": 5},
        {"describe": PICKLED},
        {"listeners": []},
        {"listeners": ["127.0.0.1:80", "127.0.0.1:81"]},
        {"listeners": [80]},
        {"generation": "1"},
        {"began": "now"},
    ],
    ids=str,
)
def test_what_answers_otherwise_is_said_once_and_left(house: House, told: dict[str, Any]) -> None:
    table = house.table()
    house.worker({}, table, **told)
    house.worker({"/": at(0, a=0)}, table)
    before = open_descriptors()
    house.look(5)
    assert len(house.log.said) == 1 and f"{PREFIX}0.sock: the worker there does not answer as it should: " in house.log.said[0]
    assert list(house.adoption._orphans) == [str(house.directory / f"{PREFIX}1.sock")]
    found = house.adoption.table()
    assert found is not None and found[1] == {"/": at(0, a=0)}
    for descriptor in house.adoption.listeners().values():
        os.close(descriptor)
    house.adoption.close()
    os.close(found[0].descriptor)
    del found  # the map has a descriptor of its own
    assert open_descriptors() == before


def test_what_is_no_socket_is_not_taken_for_one(house: House) -> None:
    table = house.table()
    with open(os.devnull, "rb") as other:
        house.worker({}, table)._descriptors[1] = other.fileno()
        house.look()
        assert not house.adoption and "is something else" in house.log.said[0]


@pytest.mark.parametrize(
    "known",
    [
        None,
        [],
        {"/": 0},
        {"/": at(8, a=0)},
        {"/": at(0, a=8)},
        {"/": at(0, a=-1)},
        {"/": (0, [("a", "u", "0")], [])},
        {"/": (0, [], [("u", "x", [])])},
    ],
    ids=str,
)
def test_slots_that_cannot_be_are_not_believed(house: House, known: Any) -> None:
    """Another worker of the same master is asked. Without any that is believed the table is not used."""
    table = house.table()
    house.worker(known, table, generation=2)
    house.worker({"/": at(0, a=0)}, table, generation=1)
    house.look()
    found = house.adoption.table()
    assert found is not None and found[1] == {"/": at(0, a=0)}


def test_without_an_answer_counters_begin_anew(house: House) -> None:
    house.worker({"/": at(0, a=8)}, house.table())
    house.look()
    before = open_descriptors()
    assert house.adoption.table() is None
    assert open_descriptors() == before - 1
    assert "counters begin anew" in house.log.said[-1]


def test_who_is_late_is_killed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the pid that the kernel knows, whatever the worker says of itself."""
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *order: killed.append(order))
    house.worker({}, house.table(), pid=1)
    house.look()
    assert house.adoption.end(0) == [os.getpid()]
    house.workers[0]._answers["leave"] = ("thanks",)
    house.adoption.dismiss(wait=0.05)
    assert killed == [(os.getpid(), 0), (os.getpid(), signal.SIGKILL)]
    assert not house.adoption


def test_orphans_that_appear_later_are_told_once(house: House) -> None:
    table = house.table()
    house.adoption.dismiss_late()
    for count in (1, 2):
        house.worker({}, table)._answers["leave"] = ("thanks",)
        before = open_descriptors()
        for _ in range(5):
            house.adoption.dismiss_late()
            gevent.sleep(0.05)
        assert [one.asked for one in house.workers] == [["describe", "leave"]] * count
        assert open_descriptors() == before


def test_without_a_runtime_directory_there_are_no_orphans(house: House) -> None:
    house.directory.rmdir()
    house.adoption.dismiss_late()
    house.look()
    assert not house.adoption and not house.log.said
