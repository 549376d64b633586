"""An access log on a disk that fills and empties: a small tmpfs."""

from __future__ import annotations

import json
from pathlib import Path

from ..harness.backends import ok
from ..harness.client import get
from ..harness.disks import fill
from ..harness.waiting import wait_until


def test_lines_are_whole_when_there_is_room_again(fresh, backend, disk: Path) -> None:
    log = disk / "access.log"
    proxy = fresh(backend(answer=ok()), workers=2, access_log=str(log))
    written: list[str] = []
    for cycle in range(6):
        filler = fill(disk)
        lost = proxy.status()["lost_lines"]["access"]
        for number in range(40):  # more lines than the log's last page has room for, over both workers
            get(proxy.address, f"/full/{cycle}/{number}")
        wait_until(lambda lost=lost: proxy.status()["lost_lines"]["access"] > lost)
        filler.unlink()
        written += [f"/room/{cycle}/{number}" for number in range(8)]
        for uri in written[-8:]:
            get(proxy.address, uri)
        wait_until(lambda wanted=set(written): wanted <= set(whole(log)[0]))
    lines, halves = whole(log)
    assert [line for line in lines if line.startswith("/room/")].count(written[-1]) == 1
    assert all(half.count('{"time"') <= 1 and '"referer"' not in half for half in halves), "a half line is a line of its own"
    assert [problem["kind"] for problem in proxy.status()["problems"]] == ["log-lines-lost"]


def whole(log: Path) -> tuple[list[str], list[str]]:
    """The URIs of all whole lines, and all other lines."""
    uris, others = [], []
    for line in log.read_text().splitlines():
        try:
            uris.append(json.loads(line)["uri"])
        except ValueError:
            others.append(line)
    return uris, others
