"""An operator takes single backends out and in, with terrasterctl, under load: what clients notice (nothing) and what stays so."""

from __future__ import annotations

import getpass
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from ..harness.backends import Peer, ok
from ..harness.client import DEADLINE, get
from ..harness.terraster_process import ROOT, is_gone, service, wait_gone
from ..harness.waiting import wait_until

UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


PAUSE = 0.005  # seconds before each request of a client: what is asked without a break only costs the machine


class Load:
    """Clients that ask again and again, each time on a new connection, so that all workers are asked. ``seen``: (when the request was
    begun, who answered). ``first``: when each answered for the first time."""

    def __init__(self, address: tuple[str, int], clients: int = 4) -> None:
        self.seen: list[tuple[float, str]] = []
        self.first: dict[str, float] = {}
        self.failed: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(address,)) for _ in range(clients)]

    def _ask(self, address: tuple[str, int]) -> None:
        while not self._over.wait(PAUSE):
            begun = time.monotonic()
            try:
                answer = get(address)
                if answer.status == 200:
                    who = answer.body.decode()
                    self.first.setdefault(who, time.monotonic())
                    self.seen.append((begun, who))
                else:
                    self.failed.append(f"{answer.status} {answer.body!r}")
            except (OSError, AssertionError) as error:
                self.failed.append(repr(error))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(DEADLINE)

    def next(self, count: int = 40) -> Counter[str]:
        """Who answers the next so many requests that are begun from now on."""
        now = time.monotonic()
        wait_until(lambda: sum(begun >= now for begun, _ in self.seen) >= count, f"{count} answers; {self.failed[:3]}")
        return Counter(who for begun, who in list(self.seen) if begun >= now)


class House:
    """A Terraster of two workers and three backends, which say their names. ``go``: lets downloads go on."""

    names = ("one", "two", "three")

    def __init__(self, start, backend) -> None:
        self.go = threading.Event()
        self.backends = {name: backend(self.script(name)) for name in self.names}
        self.service = service(*(one.url for one in self.backends.values()))
        self.proxy = start(self.service, workers=2)

    def script(self, name: str) -> Callable[[Peer], None]:
        def script(peer: Peer) -> None:
            while request := peer.request():
                if request.target == "/download":
                    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
                    assert self.go.wait(DEADLINE)
                    peer.send(b"-last")
                elif request.target == "/chat":
                    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
                    while data := peer.sock.recv(100):
                        peer.send(data)
                    return
                else:
                    peer.send(ok(name.encode()))

        return script

    def url(self, name: str) -> str:
        return self.backends[name].url

    def do(self, action: str, name: str, *more: str) -> str:
        result = self.proxy.ctl("backend", action, "site", self.url(name), *more)
        assert (result.returncode, result.stderr) == (0, ""), result
        return result.stdout

    def shown(self, name: str) -> dict:
        document = self.proxy.status()
        return next(one for one in document["services"][0]["locations"][0]["backends"] if one["url"] == self.url(name))

    def restart(self) -> None:
        self.proxy.program.stop()
        self.proxy.start()


@pytest.fixture
def house(fresh, backend):
    """A house of its own: orders stay with a Terraster, whatever becomes of the backends."""
    made = House(fresh, backend)
    yield made
    made.go.set()


@pytest.fixture
def lent_house(terraster, backend) -> House:
    """For scenarios that leave no order behind."""
    return House(terraster, backend)


def test_a_drained_backend_keeps_what_it_has_and_gets_nothing_new(house) -> None:
    with Load(house.proxy.address) as load, house.proxy.connect() as download, house.proxy.connect() as chat:
        assert set(load.next()) == {"one", "two", "three"}
        chat.send(UPGRADE)
        assert chat.response(upgrade=True).status == 101
        talks = next(name for name, one in house.backends.items() if any(request.target == "/chat" for request in one.requests))
        for _ in range(100):  # until the download is at the same backend
            download.send(b"GET /download HTTP/1.1\r\nHost: a.test\r\n\r\n")
            download.receive_until(b"first")
            if any(request.target == "/download" for request in house.backends[talks].requests):
                break
            house.go.set()
            download.receive_until(b"-last")
            house.go.clear()
        else:
            pytest.fail("the download never came to the backend of the chat")
        said = house.do("drain", talks, "--reason", "disk swap")
        assert said.splitlines()[0] == f"site/ {house.url(talks)} is draining" and "still open at this backend" in said
        assert talks not in load.next(60), "new work after the command has returned"
        chat.send(b"still there?")
        assert chat.receive_exactly(12) == b"still there?"
        house.go.set()
        assert download.receive_until(b"-last") == b"-last"
        shown = house.shown(talks)
        assert (shown["state"], shown["up"], shown["by"], shown["order"]["reason"]) == (
            "draining",
            False,
            getpass.getuser(),
            "disk swap",
        )
        assert house.do("enable", talks) == f"site/ {house.url(talks)} is up\n"
        assert talks in load.next()
    assert load.failed == []


def test_a_weight(house) -> None:
    with Load(house.proxy.address) as load:
        assert "is up, weight 6 (configured: 1)" in house.do("weight", "one", "6")
        found = load.next(400)
        assert 0.65 < found["one"] / found.total() < 0.85, found
        shown = house.shown("one")
        assert (shown["weight"], shown["configured_weight"], shown["weight_override"]["by"]) == (6, 1, getpass.getuser())
        house.do("weight", "one", "0")
        assert "one" not in load.next(60)
        house.do("drain", "one")
        assert "note: its weight is still 0 instead of the file's 1" in house.do("enable", "one")
        house.do("weight", "one", "file")
        found = load.next(400)
        assert 0.25 < found["one"] / found.total() < 0.42, found
    assert load.failed == []
    document = house.proxy.status()
    assert (document["reloads"], document["last_reload"]) == (0, None), "an operator's change is no reload of the file"
    assert document["generation"] == 4 and document["problems"] == []


def test_maintenance_ends_by_itself(house) -> None:
    with Load(house.proxy.address) as load:
        said = house.do("maintain", "one", "--for", "2s")
        begun = time.monotonic()
        assert "is in maintenance until" in said
        assert "one" not in load.next(60)
        assert 0 < house.shown("one")["until"] - time.time() < 2
        wait_until(lambda: any(who == "one" and when > begun for when, who in list(load.seen)), "the end of it")
        assert time.monotonic() - begun > 1.0
        why = json.loads(house.proxy.ctl("why", house.url("one"), "--json").stdout)["backends"][0]
        assert [touch["what"] for touch in why["history"]] == ["expired", "maintenance"]
    assert load.failed == []


def test_it_survives_what_happens_to_terraster(house) -> None:
    house.do("drain", "one", "--reason", "disk swap")
    house.do("weight", "two", "3", "--for", "1h")

    def so_it_is() -> None:
        with Load(house.proxy.address) as load:
            found = load.next(200)
            assert "one" not in found and found["two"] > 1.5 * found["three"], found
        shown = house.shown("one")
        assert (shown["state"], shown["by"], shown["weight"]) == ("draining", getpass.getuser(), 1)

    so_it_is()
    for pid in house.proxy.workers():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(house.proxy.workers()) == 2, "two new workers")
    so_it_is()
    house.proxy.reload({**house.service, "name": "other"})
    assert [orphan["backend"] for orphan in house.proxy.status()["orphans"]] == [house.url("one"), house.url("two")]
    assert "one" in {get(house.proxy.address).body.decode() for _ in range(12)}
    house.proxy.reload(house.service)
    so_it_is()
    house.restart()
    so_it_is()
    assert "Changed by operators:" in house.proxy.ctl("status").stdout


def test_what_ended_while_terraster_was_away_has_ended(house) -> None:
    house.do("drain", "one", "--for", "300ms")
    house.proxy.program.stop()
    time.sleep(0.3)
    house.proxy.start()
    assert house.shown("one")["state"] == "up"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["drain", "siet", "ONE"], 1, "no service is called siet; did you mean site?"),
        (["drain", "site", "http://127.0.0.1:1"], 1, "site has no backend http://127.0.0.1:1"),
        (["drain", "site", "127.0.0.1"], 1, "127.0.0.1 is not clear: site/ http"),
        (["drain", "site/api", "ONE"], 1, "service site has no location /api with backends; there are site/"),
        (["drain", "", "ONE"], 1, "of which service? There are site/ http"),
        (["drain", "site"], 2, "URL"),
        (["drain", "site", "ONE", "--for", "soon"], 2, "must be a duration like"),
        (["weight", "site", "ONE", "-1"], 2, ""),
        (["weight", "site", "ONE", "many"], 2, "must be a whole number"),
    ],
)
def test_what_cannot_be_done_is_said(lent_house, arguments: list[str], code: int, said: str) -> None:
    result = lent_house.proxy.ctl("backend", *[lent_house.url("one") if one == "ONE" else one for one in arguments])
    assert result.returncode == code and said in result.stderr, result
    assert lent_house.shown("one")["order"] is None


def test_refusals_are_alike_for_programs(lent_house) -> None:
    url = lent_house.url("one")
    for command in (["backend", "drain", "shop", url], ["backend", "list", "shop"], ["why", "shop", url]):
        result = lent_house.proxy.ctl(*command, "--json")
        answer = json.loads(result.stdout)
        assert result.returncode == 1 and set(answer) == {"ok", "problems", "candidates"}
        assert answer["ok"] is False and "shop" in answer["problems"][0] and answer["problems"][0] in result.stderr
    assert answer["candidates"] and json.loads(lent_house.proxy.ctl("backend", "list", "shop", "--json").stdout)["candidates"] == [
        "site/"
    ]


def test_what_has_an_end_gives_back_what_was_there(house) -> None:
    house.do("drain", "one", "--reason", "decommissioned")
    assert ", then draining again\n" in house.do("maintain", "one", "--for", "2s")
    assert "then draining again" in " ".join(house.proxy.ctl("why", house.url("one")).stdout.split())
    assert house.shown("one")["order_after"][0]["reason"] == "decommissioned"
    wait_until(lambda: house.shown("one")["state"] == "draining", "the end of maintenance")
    assert {get(house.proxy.address).body for _ in range(12)} == {b"two", b"three"}


@pytest.mark.parametrize("carried_out", [True, False], ids=["upgraded", "called off"])
def test_what_one_master_of_an_upgrade_is_told_both_follow(house, carried_out: bool) -> None:
    """Also the end of an order that was given before: it may come at any time, also while the new master starts."""
    ordered, lasts = time.monotonic(), 4.0
    house.do("drain", "three", "--for", f"{lasts:.0f}s")
    run, old = house.proxy.folder / "run", house.proxy.pid
    house.proxy.signal(signal.SIGUSR2)
    wait_until(lambda: house.proxy.said.count("ready: generation") == 2, "the new master's workers")
    new = int((run / "terraster.pid.2").read_text())
    went, stays = (old, new) if carried_out else (new, old)
    try:
        house.do("maintain", "one")
        wait_until(lambda: house.proxy.said.count("is in maintenance") == 2, "both to follow")
        with Load(house.proxy.address) as load:
            assert "two" in load.next(60), "of the workers of both"
            wait_until(lambda: "three" in load.next(20), "the end of the drain", 60)
            load.next(60)
            assert "one" not in load.first and load.first["three"] - ordered >= lasts, "of the workers of both"
            os.kill(went, signal.SIGTERM)
            if carried_out:
                house.proxy.program.process.wait(DEADLINE)
                wait_until(lambda: (run / "terraster.pid").exists() and house.proxy.status()["pid"] == stays, "the promotion")
            else:
                wait_until(lambda: f"(pid {new}) ended; this one goes on" in house.proxy.said, "the end of the new master")
            assert set(load.next(60)) == {"two", "three"}
        assert house.shown("one")["state"] == "maintenance"
    finally:
        if not is_gone(new):
            os.kill(new, signal.SIGTERM)
            wait_gone(new)


def test_a_broken_overlay_is_set_aside_and_a_start_goes_on(house) -> None:
    house.do("drain", "one")
    kept = house.proxy.folder / "state" / "overlay.json"
    house.proxy.program.stop()
    kept.write_text(kept.read_text()[:-30])
    house.proxy.start()
    assert house.shown("one")["state"] == "up"
    assert "overlay.json cannot be used" in house.proxy.said and "overlay.json.broken-" in house.proxy.said
    assert [one.name for one in kept.parent.iterdir() if one.name.startswith("overlay.json.broken-")]


def test_what_cannot_be_written_is_refused(house) -> None:
    state, kept = house.proxy.folder / "state", house.proxy.folder / "kept"
    state.rename(kept)
    state.write_text("a file where the directory should be")
    result = house.proxy.ctl("backend", "drain", "site", house.url("one"))
    assert result.returncode == 1 and "overlay.json" in result.stderr and "nothing was changed" in result.stderr
    assert house.shown("one")["state"] == "up"
    state.unlink()
    kept.rename(state)


def test_who_fails_every_request_is_a_problem(terraster, backend) -> None:
    """Though its health checks pass."""
    origin = backend(lambda peer: peer.head() and None)
    proxy = terraster(service(origin.url, location={"outlier": False}))

    def problems() -> list[dict]:
        """After more failures: the master compares with what had failed when it first heard of one."""
        for _ in range(8):
            assert get(proxy.address).status == 502
        return proxy.status()["problems"]

    wait_until(problems, "a problem")
    (problem,) = proxy.status()["problems"]
    assert problem["kind"] == "backend-failing" and problem["backend"] == origin.url
    text = proxy.ctl("status").stdout
    assert "no problems" not in text and "attempts failed in the last" in text
    why = proxy.ctl("why", origin.url)
    assert why.returncode == 0 and "failures in traffic, newest first:" in why.stdout


def test_an_upgrade_in_place_takes_it_over(house) -> None:
    """Also what is asked for while both masters run."""
    house.do("drain", "one")
    run = house.proxy.folder / "run"
    old = house.proxy.pid
    house.proxy.signal(signal.SIGUSR2)
    wait_until(lambda: (run / "terraster.pid.2").exists() and (run / "terraster.pid.2").read_text().strip(), "the new master")
    new = int((run / "terraster.pid.2").read_text())
    try:
        wait_until(lambda: house.proxy.said.count("ready: generation") == 2, "the new master's workers")
        house.do("maintain", "two")
        os.kill(old, signal.SIGTERM)
        house.proxy.program.process.wait(DEADLINE)
        wait_until(lambda: (run / "terraster.pid").exists() and house.proxy.status()["pid"] == new, "the promotion")
        wait_until(lambda: house.shown("two")["state"] == "maintenance", "what the old master was told last")
        assert house.shown("one")["state"] == "draining"
        assert {get(house.proxy.address).body for _ in range(12)} == {b"three"}
        house.do("enable", "two")
    finally:
        os.kill(new, signal.SIGTERM)
        wait_gone(new)


def test_the_key_of_sessions_is_made_where_there_are_some_and_is_kept(fresh, backend) -> None:
    origin = backend(answer=ok())
    proxy = fresh(service(origin.url, location={"lb_policy": "sticky-session"}))
    key = proxy.folder / "state" / "cookie.key"
    made = key.read_bytes()
    assert len(made) == 32 and key.stat().st_mode & 0o777 == 0o600
    proxy.program.stop()
    proxy.start()
    assert key.read_bytes() == made
    proxy.program.stop()
    key.write_bytes(b"short")
    proxy.start(wait=False)
    assert proxy.program.process.wait(DEADLINE) == 1
    assert "cookie.key does not have 32 octets" in proxy.said
    key.unlink()
    command = [sys.executable, "-m", "terraster.cli.main", "--check", "--config", str(proxy.config_file)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert checked.returncode == 0 and not key.exists(), checked


def test_sessions_that_come_with_a_reload_are_signed_too(fresh, backend) -> None:
    origin = backend(answer=ok())
    proxy = fresh(origin)
    key = proxy.folder / "state" / "cookie.key"
    assert not key.exists(), "who has no sessions needs no key"
    proxy.reload(service(origin.url, location={"lb_policy": "sticky-session"}), service(origin.url, name="other", host="b.test"))
    assert key.exists()
    assert get(proxy.address).all("set-cookie")
