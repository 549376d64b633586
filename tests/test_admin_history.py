"""The files of the history, and who writes them."""

from __future__ import annotations

import logging
import os
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from terraster.admin import event_files, historian, history_files, problems
from terraster.admin.event_files import EventFiles
from terraster.admin.historian import Historian, backend_day, location_history
from terraster.admin.history_files import DAY, HistoryFiles
from terraster.policy.minutes import Minute

from .harness.waiting import wait_until
from .test_admin_readings import House

NOON = 1_795_003_200 - 1_795_003_200 % 86_400 + 43_200


def minute(when: int, requests: int = 1, name: str = "a/") -> Minute:
    return Minute(when, 60.0, {name: (requests, 0, 0, 1, 2, 3)}, {})


def requests(files: HistoryFiles, since: float = 0.0) -> list[int]:
    return [sum(row[0] for row in one.locations.values()) for one in files.minutes(since)]


@pytest.fixture
def files(tmp_path: Path) -> HistoryFiles:
    found = HistoryFiles(str(tmp_path / "history"))
    assert found.take()
    return found


def test_minutes_are_read_in_their_order(files: HistoryFiles) -> None:
    for number in range(130):
        files.add(minute(NOON + 60 * number, number))
    assert requests(files) == list(range(130))
    assert requests(files, NOON + 60 * 100) == list(range(99, 130))
    assert len(list(Path(files.directory).glob("*.minutes"))) == 3
    assert {path.stat().st_mode & 0o777 for path in Path(files.directory).iterdir()} == {0o600}


def test_another_process_goes_on_in_the_same_minute(files: HistoryFiles) -> None:
    files.add(minute(NOON, 1))
    child = os.fork()
    if not child:
        try:
            other = HistoryFiles(files.directory)
            taken = other.take()
            other.add(minute(NOON, 2))
            os._exit(taken)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0, "the lock is another process's"
    files.add(minute(NOON + 60, 4))
    assert requests(files) == [3, 4]


def test_the_lock_is_free_when_its_owner_leaves(files: HistoryFiles) -> None:
    other = HistoryFiles(files.directory)
    assert not other.take()
    files.leave()
    assert other.take()


def test_a_file_that_is_there_already_is_kept_apart(files: HistoryFiles) -> None:
    files.add(minute(NOON, 1))
    again = HistoryFiles(files.directory)
    again.add(minute(NOON + 60, 2, "b/"))
    assert requests(files) == [1, 2]


def test_what_is_older_than_a_day_is_removed(files: HistoryFiles) -> None:
    for hour in range(60):
        files.add(minute(NOON + 3600 * hour, hour))
    kept = requests(files)
    assert kept == list(range(kept[0], 60)) and 24 <= len(kept) <= 27


def test_it_takes_no_more_room_than_it_may(files: HistoryFiles, monkeypatch) -> None:
    files.add(minute(NOON))
    monkeypatch.setattr(history_files, "MOST", 5 * sum(path.stat().st_size for path in Path(files.directory).glob("*.minutes")))
    for hour in range(1, 20):
        files.add(minute(NOON + 3600 * hour, hour))
    assert len(requests(files)) <= 6 and requests(files)[-1] == 19


def test_a_full_disk_leaves_what_was_written_whole(files: HistoryFiles, monkeypatch) -> None:
    files.add(minute(NOON, 1))
    real = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.add(minute(NOON + 60, 2, "new/"))
    monkeypatch.setattr(os, "fsync", real)
    files.add(minute(NOON + 120, 3, "new/"))
    assert requests(files) == [1, 3]


def test_a_write_that_fails_again_and_again_leaves_no_file_and_no_half_record(files: HistoryFiles) -> None:
    files.add(minute(NOON, 1))
    (path,) = Path(files.directory).glob("*.minutes")
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for later, room in enumerate((len(whole) + 20, 20, 20, 20), 1):  # of the file that is there, and of those that would follow
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            with pytest.raises(OSError, match="too large"):
                files.add(minute(NOON + 60 * later, 2, "new/"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (path,) = Path(files.directory).glob("*.minutes")
    assert path.read_bytes() == whole
    files.add(minute(NOON + 300, 3, "new/"))
    assert requests(files) == [1, 3]


def test_a_removed_directory_begins_anew(files: HistoryFiles) -> None:
    files.add(minute(NOON, 1))
    shutil.rmtree(files.directory)
    files.add(minute(NOON + 60, 2))
    assert requests(files) == [2] and not HistoryFiles(files.directory).take(), "the lock is there again, and held"
    shutil.rmtree(files.directory)
    events = EventFiles(files.directory)
    events.add([event(NOON, 1)])
    assert [one["seq"] for one in events.since(0.0)] == [1]


# Events.


def event(when: float, seq: int, text: str = "it is up") -> dict[str, object]:
    return {"epoch": "1-1", "seq": seq, "when": when, "kind": "backend", "target": "a/ b", "text": text, "generation": None}


def test_events_are_kept_for_two_days_and_read_again(tmp_path: Path) -> None:
    files = EventFiles(str(tmp_path))
    for day in range(4):
        files.add([event(NOON + day * DAY, 2 * day + 1), event(NOON + day * DAY + 1, 2 * day + 2)])
    assert [one["seq"] for one in files.since(0.0)] == [5, 6, 7, 8]
    assert [one["seq"] for one in files.since(NOON + 3 * DAY + 1)] == [8]
    assert files.last() == {"1-1": 8}


def test_half_a_line_of_a_killed_writer_is_left_out(tmp_path: Path) -> None:
    files = EventFiles(str(tmp_path))
    files.add([event(NOON, 1), event(NOON, 2)])
    (path,) = tmp_path.glob("*.events")
    path.write_bytes(path.read_bytes()[:-9])
    files.add([event(NOON, 3)])
    assert [one["seq"] for one in files.since(0.0)] == [1, 3]


def test_a_day_of_events_is_bounded(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(event_files, "MOST", 1000)
    files = EventFiles(str(tmp_path))
    for number in range(50):
        files.add([event(NOON, number)])
    (path,) = tmp_path.glob("*.events")
    assert path.stat().st_size <= 1001 and [one["seq"] for one in files.since(0.0)][:3] == [0, 1, 2]


# The looks at the counters.


class Past:
    """A house whose history is written by a process with a clock of its own."""

    def __init__(self, folder: Path, house: House) -> None:
        self.now = float(NOON)
        self.house = house
        log = logging.getLogger("terraster.test")
        self.historian = Historian(house.table, lambda: replace(house.snapshot, state_dir=str(folder)), log, lambda: self.now)

    def minute(self, seconds: float = 60.0) -> None:
        self.now += seconds
        self.historian.turn()

    def rows(self, name: str = "shop/") -> list[list[float]]:
        return location_history(self.historian, [name], 0.0).get(name, [])


def test_a_minute_has_what_was_counted_in_it(tmp_path: Path) -> None:
    house = House()
    house.answer(1, 0, 200, times=1000)
    past = Past(tmp_path, house)
    past.historian.turn()
    house.answer(1, 0, 200, 0.004, 90)
    house.answer(2, 0, 404, 0.004, 7)
    house.answer(2, 0, 503, 0.9, 3)
    past.minute()
    past.minute()
    house.answer(2, 2, 200)
    past.minute()
    ((when, requests, faults, errors, half, most, nearly),) = past.rows()
    assert (when, requests, faults, errors) == (NOON, 100, 7, 3)
    assert 0.0025 < half <= most <= 0.005 and 0.5 < nearly <= 1.0
    ((when, requests, *_),) = past.rows("blog/")
    assert (when, requests) == (NOON + 120, 1) and past.rows("shop/old") == []


def test_the_day_of_a_backend(tmp_path: Path) -> None:
    house = House()
    past = Past(tmp_path, house)
    past.historian.turn()
    (one, other) = (backend.id for backend in house.snapshot.services[0].locations[0].backends)
    house.used(1, 0, REQUESTS=10, FAILURES=2, STATUS_5XX=1)
    house.used(1, 1, REQUESTS=5)
    past.minute()
    house.used(2, 0, REQUESTS=4)
    past.minute()
    house.used(1, 0, REQUESTS=13, FAILURES=3, STATUS_5XX=1)
    past.minute()
    assert backend_day(past.historian, one, 0.0) == {
        "attempts": 17,
        "failures": 3,
        "errors": 1,
        "minutes": [
            {"when": NOON + 120, "attempts": 3, "failures": 1, "errors": 0},
            {"when": NOON, "attempts": 10, "failures": 2, "errors": 1},
        ],
    }
    assert backend_day(past.historian, other, 0.0) == {"attempts": 5, "failures": 0, "errors": 0, "minutes": []}


def test_a_new_backend_in_an_old_slot_begins_anew(tmp_path: Path) -> None:
    house = House()
    past = Past(tmp_path, house)
    house.used(1, 0, REQUESTS=100)
    past.historian.turn()
    house.known(0, LEASE=7)
    house.used(1, 0, REQUESTS=120)
    past.minute()
    name = house.snapshot.services[0].locations[0].backends[0].id
    assert backend_day(past.historian, name, 0.0)["attempts"] == 120


def test_a_look_that_is_under_way_when_its_process_leaves_is_neither_lost_nor_counted_twice(tmp_path: Path, monkeypatch) -> None:
    house = House()
    past = Past(tmp_path, house)
    past.historian.turn()
    house.answer(1, 0, 200, times=3)
    past.now += 40
    look, looks, goes_on = past.historian._look, [], Event()

    def slowly():
        looks.append(1)
        found = look()
        if len(looks) == 1:
            assert goes_on.wait(20)
        return found

    monkeypatch.setattr(past.historian, "_look", slowly)
    turn = gevent.spawn(past.historian.turn)
    gevent.sleep(0)
    assert looks and not turn.dead
    gevent.spawn_later(0.1, goes_on.set)
    past.historian.leave()
    turn.get(timeout=20)
    assert [row[1] for row in past.rows()] == [3] and not past.historian.writes()
    assert HistoryFiles(past.historian._files.directory).take(), "the next process writes"


def test_a_history_that_cannot_be_written_is_a_problem_until_it_can(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(historian, "_SOON", 0.01)
    (tmp_path / "history").write_text("in the way")
    past = Past(tmp_path, House())
    running = gevent.spawn(past.historian.run)
    try:
        assert wait_until(lambda: gevent.sleep(0.01) or past.historian.failure)["since"] == NOON
        (found,) = problems.of_history(past.historian.failure)
        assert found["kind"] == "history-failing" and found["text"].startswith(f"the history cannot be written: {tmp_path}/history")
        (tmp_path / "history").unlink()
        wait_until(lambda: gevent.sleep(0.01) or past.historian.failure is None)
    finally:
        running.kill()
    assert problems.of_history(past.historian.failure) == [] and past.historian.writes()
    assert [record.getMessage() for record in caplog.records] == [found["text"].partition(";")[0]], "told once"


def test_the_process_that_leaves_writes_its_last_minute_and_another_goes_on(tmp_path: Path) -> None:
    house = House()
    old, new = Past(tmp_path, house), Past(tmp_path, house)
    old.historian.turn()
    new.historian.turn()
    assert (old.historian.writes(), new.historian.writes()) == (True, False)
    house.answer(1, 0, 200, times=3)
    old.now = new.now = NOON + 20
    old.historian.leave()
    assert not old.historian.writes()
    new.historian.turn()
    assert new.historian.writes()
    house.answer(1, 0, 200, times=4)
    new.minute(40)
    old.historian.turn()
    assert [row[:2] for row in new.rows()] == [[NOON, 7]]
