"""What operators changed: kept whole or not at all, ended in time, laid above the file without touching the rest."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import stat
import time
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.snapshot import Backend, Location, Service, Snapshot, backend_id, location_id
from terraster.errors import StartError
from terraster.master.operator.action import MOST_WEIGHT, Action, Entry
from terraster.master.operator.overrides import KEPT, Overrides

NOW = 1_700_000_000.0
ONE, TWO = backend_id("shop", "/", "http://10.0.0.1:80"), backend_id("shop", "/", "http://10.0.0.2:80")

DRAIN = Action("drain", NOW, "alice", "disk", NOW + 60)
MAINTENANCE = Action("maintenance", NOW, "alice")
ENABLE = Action("enable", NOW, "bob")
FIVE = Action("weight", NOW, "bob", "", NOW + 30, 5)
OF_FILE = Action("weight file", NOW, "bob")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def overlay(path: Path, clock: Clock) -> Overrides:
    made = Overrides(str(path / "state"), logging.getLogger("overlay"), clock)
    made.load()
    return made


def test_it_is_kept(tmp_path: Path, clock: Clock) -> None:
    first = overlay(tmp_path, clock)
    assert first.record(ONE, DRAIN) is None
    before = first.record(ONE, FIVE)
    assert before == Entry(DRAIN, None, (DRAIN,))
    first.record(TWO, MAINTENANCE)
    second = overlay(tmp_path, clock)
    assert (
        second.entries == first.entries == {ONE: Entry(DRAIN, FIVE, (DRAIN, FIVE)), TWO: Entry(MAINTENANCE, None, (MAINTENANCE,))}
    )
    assert stat.S_IMODE(os.stat(second.path).st_mode) == 0o600
    assert sorted(os.listdir(tmp_path / "state")) == ["overlay.json", "overlay.lock"]


def test_it_ends_in_time_and_says_so(tmp_path: Path, clock: Clock) -> None:
    it = overlay(tmp_path, clock)
    it.record(ONE, DRAIN)
    it.record(ONE, FIVE)
    it.record(TWO, MAINTENANCE)
    assert it.next_end() == NOW + 30
    assert it.expire() == {}
    clock.now = NOW + 30
    assert set(it.expire()) == {ONE}
    assert (it.entries[ONE].order, it.entries[ONE].weight) == (DRAIN, None)
    assert it.next_end() == NOW + 60
    clock.now = NOW + 1000
    again = overlay(tmp_path, clock)  # a restart later than that
    assert set(again.expire()) == {ONE}
    assert again.entries[ONE].order is None and again.entries[TWO].order == MAINTENANCE
    assert [(action.what, action.when) for action in again.entries[ONE].history[-2:]] == [
        ("expired", NOW + 30),
        ("expired", NOW + 60),
    ]
    assert again.next_end() == 0.0
    assert overlay(tmp_path, clock).entries == again.entries


def test_an_entry_outlives_its_backend_for_a_day(tmp_path: Path, clock: Clock) -> None:
    it = overlay(tmp_path, clock)
    it.record(ONE, MAINTENANCE)
    it.follow([TWO])
    assert it.entries[ONE].gone == NOW and it.next_end() == NOW + KEPT
    clock.now += 3600
    it.follow([TWO])
    assert it.entries[ONE].gone == NOW
    it.follow([ONE])
    assert it.entries[ONE] == Entry(MAINTENANCE, None, (MAINTENANCE,))
    it.follow([])
    it = overlay(tmp_path, clock)
    clock.now += KEPT
    it.expire()
    assert it.entries == {} == overlay(tmp_path, clock).entries


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"version": 2, "backends": {}}',
        '{"version": 1, "backends": {"a": null}}',
        '{"version": 1, "backends": {"a": {"order": {"what": "drain"}, "weight": null, "history": []}}}',
        '{"version": 1, "backends": {"a": {"order": {"what": "eat", "when": 1, "by": "", "reason": ""}, "history": []}}}',
        '{"version": 1, "backends": {"a": {"history": [{"what": "drain", "when": NaN, "by": "", "reason": ""}]}}}',
        '{"version": 1, "backends": {"a": {"history": [{"what": "drain", "when": 1e999, "by": "", "reason": ""}]}}}',
        '{"version": 1, "backends": {"a": {"history": [], "weight": {"what": "weight", "when": 1, "by": "", "reason": "", "weight": true}}}}',
    ],
)
def test_what_is_broken_is_set_aside_and_told(tmp_path: Path, clock: Clock, content: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "overlay.json").write_text(content)
    it = overlay(tmp_path, clock)
    assert it.entries == {}
    (kept,) = (tmp_path / "state").glob("overlay.json*")
    assert kept.name.startswith("overlay.json.broken-2023") and kept.read_text() == content
    (record,) = caplog.records
    assert record.levelname == "ERROR" and str(kept) in record.getMessage()
    it.record(ONE, DRAIN)
    assert overlay(tmp_path, clock).entries == it.entries


@given(st.binary(max_size=200))
def test_no_content_stops_a_start(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("overlay")
    (path / "state").mkdir()
    (path / "state" / "overlay.json").write_bytes(content)
    assert overlay(path, Clock()).entries == {}


def test_half_a_file_is_never_seen_and_a_full_disk_changes_nothing(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = overlay(tmp_path, clock)
    it.record(ONE, DRAIN)
    before, kept = it.entries, Path(it.path).read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StartError, match=r"cannot write .*overlay\.json: No space left on device"):
            it.record(ONE, ENABLE)
        assert it.entries == before and Path(it.path).read_bytes() == kept
        assert sorted(os.listdir(tmp_path / "state")) == ["overlay.json", "overlay.lock"]
        clock.now = NOW + 61
        assert set(it.expire()) == {ONE}, "what is over is over, also if that cannot be written"
        assert it.entries[ONE].order is None
    assert it.record(ONE, ENABLE) is not None


def test_no_room_for_a_state_directory(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "state").write_text("a file in its place")
    it = overlay(tmp_path, clock)
    with pytest.raises(StartError, match="cannot write"):
        it.record(ONE, DRAIN)
    assert it.entries == {}


def test_two_masters_of_an_upgrade_see_what_the_other_wrote(tmp_path: Path, clock: Clock) -> None:
    old, new = overlay(tmp_path, clock), overlay(tmp_path, clock)
    assert not new.reread()
    old.record(ONE, DRAIN)
    assert not old.reread()
    assert new.reread() and new.entries == old.entries
    assert not new.reread()
    new.record(TWO, FIVE)
    assert old.reread() and set(old.entries) == {ONE, TWO}


def test_a_change_can_be_taken_back(tmp_path: Path, clock: Clock) -> None:
    it = overlay(tmp_path, clock)
    it.restore(ONE, FIVE, it.record(ONE, FIVE))
    assert it.entries == {} and json.loads(Path(it.path).read_text())["backends"] == {}
    it.record(ONE, DRAIN)
    it.restore(ONE, FIVE, it.record(ONE, FIVE))
    assert it.entries == {ONE: Entry(DRAIN, None, (DRAIN,))}


def snapshot(*names: str) -> Snapshot:
    services = []
    for name in names:
        backends = tuple(
            Backend(backend_id(name, "/", url), url, "http", "10.0.0.1", 80, weight=3)
            for url in ("http://10.0.0.1:80", "http://10.0.0.2:80")
        )
        services.append(Service(name, ("*",), (":80",), (Location(location_id(name, "/"), "/", backends=backends),)))
    return Snapshot(1, (), tuple(services))


def test_weights_lie_above_the_file_and_nothing_else_changes(tmp_path: Path, clock: Clock) -> None:
    it, loaded = overlay(tmp_path, clock), snapshot("shop", "blog")
    assert it.apply(loaded) is loaded
    it.record(ONE, DRAIN)
    assert it.apply(loaded) is loaded
    it.record(ONE, FIVE)
    shown = it.apply(loaded)
    assert [backend.weight for backend in shown.services[0].locations[0].backends] == [5, 3]
    assert shown.services[1] is loaded.services[1]
    assert it.apply(loaded).services[0] is shown.services[0], "the same, as what is compared by identity must stay"
    it.record(TWO, Action("weight", NOW, weight=0))
    assert [backend.weight for backend in it.apply(loaded).services[0].locations[0].backends] == [5, 0]
    changed = snapshot("shop", "blog")
    assert it.apply(changed).services[0] == it.apply(loaded).services[0]
    it.record(ONE, OF_FILE)
    it.record(TWO, OF_FILE)
    assert it.apply(loaded) is loaded


FOR_GOOD = Action("drain", NOW, "alice")
MAINTAINED = Action("maintenance", NOW, "bob", "", NOW + 20)


@pytest.mark.parametrize(
    ("actions", "then"),
    [
        ([FOR_GOOD, MAINTAINED], {0: MAINTAINED, 20: FOR_GOOD, 10_000: FOR_GOOD}),
        ([DRAIN, MAINTAINED], {0: MAINTAINED, 20: DRAIN, 60: None}),
        ([MAINTAINED, DRAIN], {0: DRAIN, 20: DRAIN, 60: None}),
        ([FOR_GOOD, DRAIN, MAINTAINED], {0: MAINTAINED, 20: DRAIN, 60: FOR_GOOD}),
        ([DRAIN, Action("drain", NOW, until=NOW + 5)], {0: replace(DRAIN, until=NOW + 5), 5: None}),
        ([DRAIN, MAINTAINED, FOR_GOOD], {0: FOR_GOOD, 20: FOR_GOOD}),
        ([FOR_GOOD, MAINTAINED, ENABLE], {0: None, 20: None}),
    ],
    ids=["for good", "longer", "shorter", "three", "another end", "replaced", "enabled"],
)
def test_what_has_an_end_lies_above_what_was_there(
    tmp_path: Path, clock: Clock, actions: list[Action], then: dict[int, Action | None]
) -> None:
    it = overlay(tmp_path, clock)
    for action in actions:
        it.record(ONE, action)
    for seconds, order in then.items():
        clock.now = NOW + seconds
        late = overlay(tmp_path, clock)  # as if Terraster had been away since
        late.expire()
        assert late.entries[ONE].order == order, seconds


def test_what_another_version_wrote_is_read(tmp_path: Path, clock: Clock) -> None:
    it = overlay(tmp_path, clock)
    it.record(ONE, DRAIN)
    root = json.loads(Path(it.path).read_text())
    del root["backends"][ONE]["under_order"], root["backends"][ONE]["under_weight"]
    root["backends"][ONE]["of tomorrow"] = 1
    Path(it.path).write_text(json.dumps(root))
    assert overlay(tmp_path, clock).entries == it.entries


@pytest.mark.parametrize("weight", [10**30, MOST_WEIGHT + 1, -5, "1"])
def test_a_bad_entry_takes_no_other_with_it(tmp_path: Path, clock: Clock, weight: object, caplog: pytest.LogCaptureFixture) -> None:
    it = overlay(tmp_path, clock)
    it.record(ONE, FIVE)
    it.record(TWO, MAINTENANCE)
    root = json.loads(Path(it.path).read_text())
    root["backends"][ONE]["weight"]["weight"] = weight
    Path(it.path).write_text(json.dumps(root))
    again = overlay(tmp_path, clock)
    assert again.entries == {TWO: it.entries[TWO]} == overlay(tmp_path, clock).entries
    (kept,) = (tmp_path / "state").glob("overlay.json.broken-*")
    assert json.loads(kept.read_text()) == root
    (record,) = caplog.records
    assert repr(ONE) in record.getMessage() and "The other entries hold" in record.getMessage()


@pytest.mark.parametrize("content", ["garbage", None], ids=["broken", "removed"])
def test_a_file_that_breaks_at_run_time_changes_nothing(
    tmp_path: Path, clock: Clock, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    it = overlay(tmp_path, clock)
    it.record(ONE, DRAIN)
    before = it.entries
    if content is None:
        os.unlink(it.path)
    else:
        Path(it.path).write_text(content)
    assert not it.reread() and it.entries == before == overlay(tmp_path, clock).entries
    (record,) = caplog.records
    assert "stay in effect, and are written anew" in record.getMessage()
    assert [one.read_text() for one in (tmp_path / "state").glob("overlay.json.broken-*")] == ([content] if content else [])
    assert not it.reread() and len(caplog.records) == 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES])
def test_what_cannot_be_read_now_is_left_alone(
    tmp_path: Path, clock: Clock, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    it = overlay(tmp_path, clock)
    it.record(ONE, DRAIN)
    other = overlay(tmp_path, clock)
    other.record(TWO, MAINTENANCE)
    kept, before = Path(it.path).read_bytes(), it.entries
    started = Overrides(str(tmp_path / "state"), logging.getLogger("overlay"), clock)

    def refuse(_self: Overrides) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Overrides, "_read", refuse)
        started.load()
        assert started.entries == {}
        for _ in range(3):
            assert not it.reread()
        assert it.entries == before
        for one in (it, started):
            with pytest.raises(StartError, match="cannot read .*; it is left as it is"):
                one.record(ONE, ENABLE)
        assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"], "told once by each"
        assert Path(it.path).read_bytes() == kept
        assert sorted(os.listdir(tmp_path / "state")) == ["overlay.json", "overlay.lock"]
    assert it.reread() and started.reread() and it.entries == started.entries == other.entries


def test_a_directory_that_cannot_be_synced_is_a_warning(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    it = overlay(tmp_path, clock)
    plain = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(5, "Input/output error")
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    it.record(ONE, DRAIN)
    assert set(it.entries) == {ONE} and not it.reread() and overlay(tmp_path, clock).entries == it.entries
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_two_masters_lose_nothing_of_each_other(tmp_path: Path, clock: Clock) -> None:
    old, new = overlay(tmp_path, clock), overlay(tmp_path, clock)
    old.record(ONE, FIVE)
    new.record(TWO, MAINTENANCE)
    assert new.news and set(new.entries) == {ONE, TWO}
    clock.now = NOW + 30
    assert set(old.expire()) == {ONE} and set(old.entries) == {ONE, TWO}
    assert new.expire() == {}, "the other has ended it"
    assert new.entries == old.entries and [action.what for action in new.entries[ONE].history] == ["weight", "expired"]
    new.record(ONE, DRAIN)
    old.follow([TWO])
    assert old.entries[ONE].order == DRAIN and old.entries[ONE].gone
    new.record(TWO, ENABLE)
    old.restore(TWO, MAINTENANCE, None)
    assert old.entries[TWO].history[-1] == ENABLE, "somebody after it since"
    assert overlay(tmp_path, clock).entries == old.entries


def test_during_an_upgrade_nothing_is_gone(tmp_path: Path, clock: Clock) -> None:
    it = overlay(tmp_path, clock)
    it.record(ONE, DRAIN)
    it.follow([TWO], alone=False)
    assert not it.entries[ONE].gone
    it.follow([TWO])
    it.follow([ONE], alone=False)
    assert not it.entries[ONE].gone


def test_many_writers_at_once(tmp_path: Path) -> None:
    """Four processes that action backends of their own: all of it is there. Each leaves the lock to the others between two edits, as it is
    tried every two milliseconds, and one that takes it again at once may hold up others, on a slow disk, until they are refused."""
    children = []
    for writer in range(4):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                it = overlay(tmp_path, Clock())
                for number in range(25):
                    it.record(f"{writer}-{number}", DRAIN)
                    time.sleep(0.005)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert len(overlay(tmp_path, Clock()).entries) == 100


def test_a_lock_that_somebody_keeps_refuses_and_does_not_hang(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terraster.master.operator.overrides._TRIES", 3)
    it = overlay(tmp_path, clock)
    it.record(ONE, DRAIN)
    before = it.entries
    with open(tmp_path / "state" / "overlay.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StartError, match="another process holds"):
            it.record(ONE, ENABLE)
        assert it.entries == before
    it.record(ONE, ENABLE)
