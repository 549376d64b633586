"""Operators and programs edit what runs, above the file: as real as a reload, and it stays."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ..harness.api import call
from ..harness.backends import Peer, ok
from ..harness.client import get
from ..harness.disks import fill
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until
from .test_dead_master import again, kill
from .test_operator import Load


def named(backend: Any, *names: str) -> list[Any]:
    """Backends that say their names."""

    def script(name: str) -> Any:
        def run(peer: Peer) -> None:
            while peer.request():
                peer.send(ok(name.encode()))

        return run

    return [backend(script(name)) for name in names]


@pytest.fixture
def edited(terraster: Any, stack: Any) -> Any:
    """A Terraster that is kept running: it must have no edits afterwards."""

    def borrow(*parts: Any, **keys: Any) -> Terraster:
        proxy = terraster(*parts, **keys)

        def drop() -> None:
            numbers = ",".join(str(one["number"]) for one in proxy.status()["edits"])
            assert not numbers or proxy.control("DELETE", "/edits", numbers=numbers)["ok"]

        stack.callback(drop)
        return proxy

    return borrow


def change(kind: str, url: str = "", **keys: Any) -> dict[str, Any]:
    return {"kind": kind, "service": "site", "url": url, **keys}


def edit(proxy: Terraster, *changes: dict[str, Any], **query: str) -> dict[str, Any]:
    return proxy.control("POST", "/edit", changes=json.dumps(changes), **query)


def answers(proxy: Terraster, count: int = 12) -> set[str]:
    return {get(proxy.address).body.decode() for _ in range(count)}


def test_a_backend_comes_and_goes_under_load(fresh, backend):
    one, two = named(backend, "one", "two")
    proxy = fresh(service(one.url), workers=2)
    with Load(proxy.address) as load:
        load.next()
        found = proxy.ctl("backend", "add", "site", two.url, "--weight", "1", "--reason", "more load")
        assert (found.returncode, found.stderr) == (0, "")
        assert found.stdout == f"backend {two.url} added to site/\nall processes run it, generation 2\n"
        assert set(load.next(100)) == {"one", "two"}
        assert proxy.ctl("backend", "remove", "site", one.url).returncode == 0
        assert set(load.next(100)) == {"two"}
        assert proxy.ctl("reload").stdout.startswith("nothing to reload")
        assert set(load.next()) == {"two"}
    assert load.failed == []
    (first, second) = proxy.status()["edits"]
    assert (first["words"], first["reason"], first["dormant"]) == (f"backend {two.url} added to site/", "more load", "")
    shown = proxy.ctl("status").stdout
    assert f"backend {one.url} removed from site/ by" in shown
    proxy.program.stop()
    proxy.start()
    assert answers(proxy) == {"two"}
    assert proxy.ctl("edits", "drop", str(second["number"])).returncode == 0
    assert answers(proxy) == {"one", "two"}


def test_refusals_change_nothing(edited, backend):
    one, two = named(backend, "one", "two")
    proxy = edited(one)
    before = proxy.status()["generation"]
    for changes, code, words in (
        ([change("backend.add", one.url)], "conflict", f"backend {one.url} of site/ is in the file now"),
        ([change("backend.add", two.url, value={"weight": "x"})], "invalid", ": `weight` must be a whole number"),
        ([change("backend.remove", two.url)], "unknown", f"site has no backend {two.url}; "),
        ([change("backend.remove", one.url)], "invalid", ": location / has neither `backends` nor `redirect`: it cannot answer"),
        ([change("backend.add", two.url)] * 2, "conflict", f"backend {two.url} of site/ is there already"),
        ([change("backend.add", two.url, service="else")], "unknown", "no service is called else; there are site"),
        ([change("backend.add", "ftp://x")], "invalid", "`url` must start with http:// or https://, not ftp://"),
        ([change("backend.add", two.url, path="/x")], "unknown", "service site has no location /x; there are site/"),
        ([change("location.set", value={"rewrite": "/"})], "invalid", "`rewrite` cannot be set for a location, only"),
        ([change("location.set", value={"lb_policy": "best"})], "invalid", ": `lb_policy` names an unknown algorithm 'best'"),
        ([], "invalid", "a command needs a list of changes"),
    ):
        answer = edit(proxy, *changes)
        (problem, *_) = answer["problems"]
        assert (answer["ok"], answer["code"]) == (False, code) and words in problem, answer
        assert problem.startswith("edit ") == words.startswith(":"), problem
    assert proxy.status()["generation"] == before and proxy.status()["edits"] == [] and answers(proxy) == {"one"}


def test_a_dry_run_says_what_would_be_and_does_nothing(edited, backend):
    one, two = named(backend, "one", "two")
    proxy = edited(service(one.url, two.url))
    before = proxy.status()["generation"]
    answer = edit(proxy, change("backend.remove", two.url), dry_run="true")
    assert answer["ok"] and answer["dry_run"] and answer["changes"] == [f"~ service site: - backend {two.url}"]
    assert [(one["url"], one["active"]) for one in answer["touches"]] == [(two.url, 0)]
    assert proxy.status()["generation"] == before and proxy.status()["edits"] == []
    assert not edit(proxy, change("backend.add", two.url), dry_run="true")["ok"]
    proxy.write(service(one.url))
    answer = proxy.control("POST", "/reload", dry_run="true")
    assert answer["ok"] and answer["changes"] == [f"~ service site: - backend {two.url}"]
    assert proxy.status()["generation"] == before and answers(proxy) == {"one", "two"}


def test_two_programs_lose_no_update(edited, backend):
    proxy = edited(*named(backend, "one"))
    (location,) = edit(proxy, change("location.set", value={"max_connections": 1}))["locations"]
    tag = location["etag"]
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda n: edit(proxy, change("location.set", value={"max_connections": n}), if_match=tag), range(2, 10))
        )
    (won,) = [one for one in found if one["ok"]]
    assert {one["code"] for one in found if not one["ok"]} == {"stale"}
    current = won["locations"][0]["etag"]
    assert {one["etag"] for one in found if not one["ok"]} == {current} and current != tag
    kept = proxy.status()["edits"]
    assert [one["value"] for one in kept] == [{"max_connections": won["edits"][0]["value"]["max_connections"]}]
    url = proxy.status()["services"][0]["locations"][0]["backends"][0]["url"]
    assert proxy.control("POST", "/backend", action="drain", service="site", url=url)["ok"]
    assert edit(proxy, change("location.set", value={"max_connections": 3}), if_match=current)["code"] == "stale", "an order counts"


def test_a_file_that_contradicts_an_edit_makes_it_dormant(edited, backend):
    one, two, three = named(backend, "one", "two", "three")
    proxy = edited(service(one.url))
    assert edit(proxy, change("backend.add", two.url), change("backend.add", three.url, value={"weight": 1}))["ok"]
    outcome = proxy.reload(service(one.url, two.url))
    (note,) = outcome["notes"]
    assert note.endswith(f"(backend {two.url} added to site/): backend {two.url} of site/ is in the file now"), note
    assert [bool(kept["dormant"]) for kept in proxy.status()["edits"]] == [True, False]
    assert "has no effect" in proxy.ctl("status").stdout and answers(proxy, 20) == {"one", "two", "three"}
    outcome = proxy.reload(service(two.url, path="/new"))
    assert len(outcome["notes"]) == 2 and get(proxy.address, "/new").body == b"two"
    proxy.reload(service(one.url))
    assert answers(proxy, 20) == {"one", "two", "three"}, "they have their effect again"
    assert [kept["dormant"] for kept in proxy.status()["edits"]] == ["", ""]


def test_an_edit_takes_nothing_that_is_being_written(edited, backend):
    one, two, three = named(backend, "one", "two", "three")
    proxy = edited(service(one.url))
    proxy.write(service(three.url))
    assert edit(proxy, change("backend.add", two.url))["ok"]
    assert answers(proxy) == {"one", "two"}
    assert proxy.control("POST", "/reload")["ok"] and answers(proxy) == {"three", "two"}


def test_an_edit_ends_in_time(edited, backend):
    one, two = named(backend, "one", "two")
    proxy = edited(service(one.url))
    assert edit(proxy, change("backend.add", two.url, **{"for": 0.5}))["edits"][0]["until"]
    wait_until(lambda: proxy.status()["edits"] == [])
    assert answers(proxy) == {"one"}
    wait_until(lambda: "is over: backend" in proxy.said and "an edit's time was over: generation" in proxy.said)


def test_a_file_of_edits_that_is_damaged_does_not_keep_it_from_starting(fresh, backend):
    (one,) = named(backend, "one")
    proxy = fresh(one, start=False)
    state = proxy.folder / "state"
    state.mkdir()
    (state / "edits.json").write_text('{"version": 1, "edits": [{}]}')
    proxy.start()
    assert answers(proxy) == {"one"} and "edits.json cannot be used" in proxy.said
    assert [name for name in os.listdir(state) if name.startswith("edits.json.broken-")]
    (two,) = named(backend, "two")
    assert edit(proxy, change("backend.add", two.url))["ok"] and answers(proxy) == {"one", "two"}


def test_an_edit_that_no_longer_fits_does_not_keep_it_from_starting(fresh, backend):
    one, two = named(backend, "one", "two")
    proxy = fresh(service(one.url, two.url))
    assert edit(proxy, change("backend.remove", two.url))["ok"]
    proxy.program.stop()
    proxy.write(service(two.url))
    proxy.start()
    assert answers(proxy) == {"two"} and "has no effect and is kept" in proxy.said


@pytest.mark.parametrize("workers", [2])
def test_a_storm_of_edits_under_traffic(fresh, backend, workers):
    """Several programs add and remove; each answer is true at once, in every worker, and no request fails."""
    one, *others = named(backend, "one", "two", "three", "four")
    proxy = fresh(service(one.url), workers=workers)
    wrong: list[str] = []

    def program(other: Any, name: str) -> int:
        done = 0
        for _ in range(12):
            for kind in ("backend.add", "backend.remove"):
                answer = edit(proxy, change(kind, other.url))
                if not answer["ok"]:
                    wrong.append(str(answer))
                seen = answers(proxy, 10)
                if kind == "backend.remove" and name in seen:
                    wrong.append(f"{name} still answers")
                done += 1
        return done

    with Load(proxy.address, 2) as load, ThreadPoolExecutor(3) as pool:
        done = sum(pool.map(program, others, ("two", "three", "four")))
    assert (done, wrong, load.failed) == (72, [], [])
    status = proxy.status()
    assert status["edits"] == [] and status["generation"] <= 73 and status["restarts"] == 0
    assert not Path(proxy.folder, "state", "edits.json.new").exists() and threading.active_count() < 20


def test_an_edit_is_written_into_the_file(edited, backend):
    one, two, three = named(backend, "one", "two", "three")
    proxy = edited(service(one.url))
    file = proxy.config_file
    file.write_text("# mine\n" + file.read_text())
    file.chmod(0o640)
    assert proxy.control("POST", "/reload")["ok"]
    made = edit(proxy, change("backend.add", two.url, value={"weight": 2}), change("backend.add", three.url))["edits"]
    numbers = [str(kept["number"]) for kept in made]
    before = file.read_text()
    assert proxy.ctl("edits", "adopt", "--dry-run", *numbers).returncode == 0 and file.read_text() == before
    Path(f"{file}.terraster-new").write_text("of a master that was killed while it wrote")
    found = proxy.ctl("edits", "adopt", numbers[0])
    assert (found.returncode, found.stderr) == (0, "") and "written into" in found.stdout
    assert file.read_text().startswith("# mine\n") and two.url in file.read_text() and file.stat().st_mode & 0o777 == 0o640
    assert [kept["number"] for kept in proxy.status()["edits"]] == [made[1]["number"]]
    assert proxy.control("POST", "/reload")["changes"] in ([], ["~ service site"]) and answers(proxy, 20) == {"one", "two", "three"}
    file.write_text(file.read_text() + "# later\n")
    refused = proxy.ctl("edits", "adopt", numbers[1])
    assert refused.returncode == 1 and "changed since the last reload" in refused.stderr and f"- url: {three.url}" in refused.stderr
    assert proxy.control("POST", "/reload")["ok"] and proxy.ctl("edits", "adopt", numbers[1]).returncode == 0
    assert proxy.status()["edits"] == [] and proxy.control("POST", "/reload")["changes"] == []


def test_a_rollback_runs_an_earlier_generation(edited, backend):
    one, two = named(backend, "one", "two")
    proxy = edited(service(one.url))
    first = proxy.status()["generation"]
    assert edit(proxy, change("backend.add", two.url), reason="growth")["ok"]
    proxy.reload(service(two.url))
    assert answers(proxy) == {"two"}
    shown = proxy.ctl("generations").stdout
    assert f"backend {two.url} added to site/" in shown and "growth" in shown and ", runs: reload (test)" in shown
    dry = proxy.ctl("rollback", str(first), "--dry-run")
    assert dry.returncode == 0 and answers(proxy) == {"two"}
    back = proxy.ctl("rollback", str(first + 1))
    assert back.returncode == 0 and "the files on disk are not changed" in back.stdout and answers(proxy) == {"one", "two"}
    assert proxy.ctl("rollback", str(first)).returncode == 0 and answers(proxy) == {"one"} and proxy.status()["edits"] == []
    assert proxy.ctl("rollback", "1000000").returncode == 1
    assert proxy.control("POST", "/reload")["ok"] and answers(proxy) == {"two"}, "the file holds again"


def test_on_a_full_disk_an_edit_is_refused_and_nothing_changes(fresh, backend, disk):
    one, two = named(backend, "one", "two")
    proxy = fresh(service(one.url), state_dir=str(disk))
    assert edit(proxy, change("location.set", value={"max_connections": 9}))["ok"]
    before, generation = (disk / "edits.json").read_bytes(), proxy.status()["generation"]
    filler = fill(disk)
    refused = edit(proxy, change("backend.add", two.url, value={"name": "x" * 60}))
    assert refused["code"] == "failed" and "No space left on device" in refused["problems"][0], refused
    assert (disk / "edits.json").read_bytes() == before and not (disk / "edits.json.new").exists()
    assert proxy.status()["generation"] == generation and answers(proxy) == {"one"}
    filler.unlink()
    assert edit(proxy, change("backend.add", two.url))["ok"] and answers(proxy) == {"one", "two"}


def test_generations_outlive_a_master_that_is_killed(fresh, backend):
    one, two = named(backend, "one", "two")
    proxy = fresh(service(one.url))
    assert edit(proxy, change("backend.add", two.url), reason="growth")["ok"]
    proxy.reload(service(two.url))
    folder = proxy.folder / "state" / "generations"
    wait_until(lambda: (folder / "3.json").exists(), lambda: proxy.said)
    kill(proxy)
    again(proxy)
    shown = call(proxy, "GET", "/api/generations").value["items"]
    assert [(row["generation"], row["running"]) for row in shown] == [(4, True), (3, False), (2, False), (1, False)]
    assert shown[2]["why"].endswith("(growth)") and proxy.status()["generation"] == 4
    found = call(proxy, "GET", "/api/generations/diff", old=1, new=4).value
    assert two.url in str(found["changes"]) and one.url in str(found["changes"])
    assert call(proxy, "POST", "/api/generations/1/rollback").status == 200 and answers(proxy) == {"one"}
    for path in folder.glob("*.gz"):
        path.write_bytes(b"damaged")
    refused = call(proxy, "POST", "/api/generations/2/rollback")
    assert (refused.status, answers(proxy)) == (503, {"one"}) and "its files cannot be read" in refused.value["detail"]
