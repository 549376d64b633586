"""The stream of the status: what viewers get, and what they cost."""

from __future__ import annotations

import json

import gevent
import pytest

from terraster.admin import live
from terraster.admin.live import Live
from terraster.errors import TerrasterError


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def exception(self, text: str, *arguments: object) -> None:
        self.lines.append(text % arguments)


@pytest.fixture(autouse=True)
def fast(monkeypatch) -> None:
    monkeypatch.setattr(live, "EVERY", 0.02)


def events(frames, number: int) -> list[tuple[str, object]]:
    """The next events of a stream: their names and data."""
    found = []
    with gevent.Timeout(10):
        for frame in frames:
            if frame.startswith(b"event: "):
                name, _, data = frame.decode().partition("\n")
                text = data.removeprefix("data:").strip()
                found.append((name.removeprefix("event: "), json.loads(text) if text else None))
            if len(found) == number:
                return found
    return found


def test_one_document_a_tick_for_all_viewers_and_none_without_viewers() -> None:
    made: list[int] = []

    def document() -> dict[str, int]:
        made.append(1)
        return {"number": len(made)}

    stream = Live(document, Log())
    jobs = [gevent.spawn(events, stream.frames(lambda: True), 5) for _ in range(20)]
    seen = [job.get(timeout=10) for job in jobs]
    assert all(one == seen[0] for one in seen)
    assert [data["number"] for _, data in seen[0]] == [1, 2, 3, 4, 5]
    gevent.sleep(0.1)
    stopped = len(made)
    gevent.sleep(0.1)
    assert len(made) == stopped <= 7
    assert events(stream.frames(lambda: True), 1)[0][1]["number"] == stopped + 1


def test_a_slow_viewer_gets_the_newest() -> None:
    made: list[int] = []
    stream = Live(lambda: made.append(1) or {"number": len(made)}, Log())
    frames = stream.frames(lambda: True)
    first = events(frames, 1)[0][1]["number"]
    with gevent.Timeout(10):
        while len(made) < 10:
            gevent.sleep(0.01)
    assert first == 1 and events(frames, 1)[0][1]["number"] >= 10


def test_a_viewer_whose_login_is_over_gets_no_more() -> None:
    allowed = [True]
    stream = Live(dict, Log())
    frames = stream.frames(lambda: allowed[0])
    assert events(frames, 1) == [("status", {})]
    allowed[0] = False
    assert events(frames, 5) == [("ended", None)]


def test_the_end_of_the_worker_ends_every_stream() -> None:
    stream = Live(dict, Log())
    jobs = [gevent.spawn(events, stream.frames(lambda: True), 1000) for _ in range(3)]
    gevent.sleep(0.05)
    stream.close()
    assert [job.get(timeout=10)[-1] for job in jobs] == [("ended", None)] * 3
    assert events(stream.frames(lambda: True), 2) == [("ended", None)]


def test_failures_are_told() -> None:
    def away() -> dict[str, int]:
        raise TerrasterError("the master is away")

    def broken() -> dict[str, int]:
        raise KeyError("secret")

    log = Log()
    assert events(Live(away, log).frames(lambda: True), 1) == [("failure", {"detail": "the master is away"})]
    assert events(Live(broken, log).frames(lambda: True), 1) == [("failure", {"detail": "internal error, see the log"})]
    assert log.lines == ["cannot make the status for dashboards"]


def test_viewers_that_leave_make_room(monkeypatch) -> None:
    monkeypatch.setattr(live, "VIEWERS", 2)
    stream = Live(dict, Log())
    first, second = stream.frames(lambda: True), stream.frames(lambda: True)
    assert events(first, 1) and events(second, 1) and stream.is_full
    first.close()
    assert not stream.is_full
