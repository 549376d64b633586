"""Canaries: clients of HTTP/1 and HTTP/2 that keep their arm, through reloads, failures and drains."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ..harness.backends import ok
from ..harness.client import get
from ..harness.fault import resets_before_head
from ..harness.http2_client import Http2
from ..harness.readings import quiet
from ..harness.terraster_process import Terraster, backends
from ..harness.waiting import wait_until


@pytest.fixture
def site(backend):
    """A function that makes a service with a split, by the weights of its arms; the backend of each arm answers with the arm's name."""
    urls: dict[str, str] = {}

    def made(weights: dict[str, int], **how: Any) -> dict[str, Any]:
        location = how.pop("location", {})
        for name in weights:
            if name not in urls:
                urls[name] = backend(answer=ok(name.encode())).url
        arms = [{"name": name, "weight": weight, "backends": backends(urls[name])} for name, weight in weights.items()]
        return {"name": "site", "locations": [{"path": "/", "split": {"to": arms, **how}, **location}]}

    return made


def places(proxy: Terraster) -> dict[str, Any]:
    return {place["path"]: place for place in proxy.status()["services"][0]["locations"]}


def cookie_of(answer: Any) -> str:
    """The cookie that an answer sets, "" if it sets none."""
    return str(answer.get("set-cookie") or "").partition(";")[0]


def test_clients_keep_their_arm_when_its_share_grows(terraster, site, stack, tmp_path: Path) -> None:
    """Over HTTP/1 and HTTP/2, with two workers; from 20 to 40 % exactly some of those of the other arm move."""
    log = tmp_path / "access.log"
    keys = {"http2": True, "workers": 2, "access_log": {"path": str(log), "fields": ["split", "location"]}}
    proxy = terraster(site({"stable": 80, "canary": 20}), **keys)
    client = stack.enter_context(Http2(proxy.connect()))
    arms: dict[str, str] = {}
    for number in range(120):
        answer = get(proxy.address) if number % 2 else client.get()
        assert "HttpOnly; SameSite=Lax" in answer.get("set-cookie") and "canary" not in answer.get("set-cookie")
        arms[cookie_of(answer)] = answer.body.decode()
    assert len(arms) == 120 and 5 < Counter(arms.values())["canary"] < 50

    def now() -> dict[str, str]:
        found = {}
        for number, cookie in enumerate(arms):
            if number % 2:
                answer = get(proxy.address, fields=f"Cookie: {cookie}\r\n")
            else:
                answer = client.get(fields=[("cookie", cookie)])
            assert not cookie_of(answer)
            found[cookie] = answer.body.decode()
        return found

    assert now() == arms
    outcome = proxy.reload(site({"canary": 40, "stable": 60}), **keys)
    assert "~ service site: /: ~ split: arm canary weight 20 → 40" in outcome["changes"], outcome
    moved = Counter((arms[cookie], arm) for cookie, arm in now().items() if arms[cookie] != arm)
    assert moved.keys() == {("stable", "canary")} and 5 < moved["stable", "canary"] < 60
    wait_until(lambda: sum(place["requests"] for place in places(proxy).values()) == 360, "all requests counted")
    found = places(proxy)
    assert found["/"]["split"] == {"canary": 40, "stable": 60} and found["/"]["requests"] == 0
    assert [found[f"/#{name}"]["filters"] for name in ("stable", "canary")] == [{}, {}], "filters are the location's"
    samples = proxy.metrics()
    for name in ("stable", "canary"):
        assert (
            samples[f'terraster_requests_total{{code="200",location="/#{name}",service="site"}}'] == found[f"/#{name}"]["requests"]
        )
    wait_until(lambda: log.read_text().count("\n") == 360, "all lines written")
    lines = Counter((line["location"], line["split"]) for line in map(json.loads, log.read_text().splitlines()))
    assert lines == {("/", name): found[f"/#{name}"]["requests"] for name in ("stable", "canary")}


def test_an_arm_that_fails_fails_alone_or_is_replaced(terraster, site, backend) -> None:
    """Its clients are known by their address here, so all of them are one."""
    how = {"by": "client-ip", "location": {"outlier": {"connect_errors": 1, "max_ejected": "100%"}, "retry": "off"}}
    one = site({"a": 1, "b": 1}, **how)
    proxy = terraster(one)
    mine = get(proxy.address).body.decode()
    other = {"a": "b", "b": "a"}[mine]
    arm = next(arm for arm in one["locations"][0]["split"]["to"] if arm["name"] == mine)
    assert proxy.ctl("backend", "drain", f"site/#{mine}", arm["backends"][0]["url"]).returncode == 0
    assert get(proxy.address).status == 503
    (problem,) = proxy.status()["problems"]
    assert problem["location"] == f"/#{mine}" and problem["text"].endswith("new requests are answered with 503")
    one["locations"][0]["split"]["fallback"] = True
    proxy.reload(one)
    assert get(proxy.address).body.decode() == other
    assert places(proxy)["/"]["filters"]["split"]["fallbacks"] == 1
    (problem,) = proxy.status()["problems"]
    assert problem["text"].endswith("clients of this arm go to other arms (`fallback`)")
    assert proxy.ctl("backend", "enable", "site/", arm["backends"][0]["url"]).returncode == 0
    wait_until(lambda: get(proxy.address).body.decode() == mine, "the client is back in its arm")


def test_a_retry_and_a_session_stay_within_the_arm(terraster, site, backend) -> None:
    one = site({"stable": 1, "canary": 0}, override="header:x-arm", location={"lb_policy": "sticky-session", "outlier": "off"})
    arm = one["locations"][0]["split"]["to"][1]
    arm["backends"] = backends(backend(resets_before_head).url, backend(answer=ok(b"second")).url)
    proxy = terraster(one)
    for _ in range(4):
        answer = get(proxy.address, fields="X-Arm: canary\r\n")
        assert answer.body == b"second" and len(answer.all("set-cookie")) == 1, "a cookie of the session, and none of the arm"
    session = cookie_of(answer)
    assert get(proxy.address, fields=f"X-Arm: canary\r\nCookie: {session}\r\n").get("set-cookie") is None
    assert get(proxy.address).body == b"stable"
    quiet(proxy)
    assert places(proxy)["/"]["filters"]["split"]["overrides"] == 5


def test_a_circuit_of_an_arm_and_a_limit_of_the_location(terraster, site, backend) -> None:
    """Circuits belong to the arm; a rate limit counts the clients of all arms."""
    limit = {"rate_limit": {"requests_per_second": 1, "burst": 6}}
    breaker = {"circuit_breaker": {"threshold": 2, "timeout": "1h"}}
    location = {"middleware": [limit, breaker], "outlier": "off", "retry": "off"}
    one = site({"a": 1, "b": 1}, by="header:x-arm", override="header:x-arm", location=location)
    one["locations"][0]["split"]["to"][0]["backends"] = backends(backend(answer=ok(status=b"500 No")).url)
    proxy = terraster(one)

    def ask(arm: str) -> int:
        return int(get(proxy.address, fields=f"X-Arm: {arm}\r\n").status)

    assert [ask("a"), ask("a")] == [500, 500]
    wait_until(lambda: places(proxy)["/#a"]["backends"][0]["circuit"] == "open", "the circuit is open")
    assert [ask("a"), ask("b"), ask("b"), ask("b")] == [503, 200, 200, 200]
    assert [ask(arm) for arm in "abab"].count(429) >= 3, "six and one for each second"
    assert places(proxy)["/"]["responses"].get("4xx", 0) >= 3, "a refusal is the location's, before an arm is known"
