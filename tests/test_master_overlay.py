"""What operators changed: kept whole or not at all, ended in time, laid above the file without touching the rest."""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.snapshot import Backend, Location, Service, Snapshot, backend_id, location_id
from terraster.errors import StartError
from terraster.master.overlay import HISTORY, KEPT, Entry, Overlay, Touch

NOW = 1_700_000_000.0
ONE, TWO = backend_id("shop", "/", "http://10.0.0.1:80"), backend_id("shop", "/", "http://10.0.0.2:80")

DRAIN = Touch("drain", NOW, "alice", "disk", NOW + 60)
MAINTENANCE = Touch("maintenance", NOW, "alice")
ENABLE = Touch("enable", NOW, "bob")
FIVE = Touch("weight", NOW, "bob", "", NOW + 30, 5)
OF_FILE = Touch("weight file", NOW, "bob")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def overlay(path: Path, clock: Clock) -> Overlay:
    made = Overlay(str(path / "state"), logging.getLogger("overlay"), clock)
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
    assert os.listdir(tmp_path / "state") == ["overlay.json"]


@pytest.mark.parametrize(
    ("touches", "order", "weight"),
    [
        ([DRAIN], DRAIN, None),
        ([DRAIN, MAINTENANCE], MAINTENANCE, None),
        ([DRAIN, FIVE, ENABLE], None, FIVE),
        ([DRAIN, FIVE, OF_FILE], DRAIN, None),
        ([ENABLE], None, None),
    ],
)
def test_what_touches_leave(touches: list[Touch], order: Touch | None, weight: Touch | None) -> None:
    entry = Entry()
    for touch in touches:
        entry = entry.touched(touch)
    assert (entry.order, entry.weight, entry.history) == (order, weight, tuple(touches))


def test_only_the_last_touches_are_kept() -> None:
    entry = Entry()
    for number in range(HISTORY + 5):
        entry = entry.touched(Touch("weight", NOW, weight=number))
    assert [touch.weight for touch in entry.history] == list(range(5, HISTORY + 5))


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
    assert [(touch.what, touch.when) for touch in again.entries[ONE].history[-2:]] == [("expired", NOW + 30), ("expired", NOW + 60)]
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
    (kept,) = (tmp_path / "state").iterdir()
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
        assert os.listdir(tmp_path / "state") == ["overlay.json"]
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
    it.restore(ONE, it.record(ONE, FIVE))
    assert it.entries == {} and json.loads(Path(it.path).read_text())["backends"] == {}
    it.record(ONE, DRAIN)
    it.restore(ONE, it.record(ONE, FIVE))
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
    it.record(TWO, Touch("weight", NOW, weight=0))
    assert [backend.weight for backend in it.apply(loaded).services[0].locations[0].backends] == [5, 0]
    changed = snapshot("shop", "blog")
    assert it.apply(changed).services[0] == it.apply(loaded).services[0]
    it.record(ONE, OF_FILE)
    it.record(TWO, OF_FILE)
    assert it.apply(loaded) is loaded
