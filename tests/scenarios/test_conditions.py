"""Locations that share a path: curl over both versions of HTTP, what operators see of them, and that a reload keeps them apart."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ..harness.backends import ok
from ..harness.client import get
from ..harness.http2_client import Http2
from ..harness.terraster_process import ROOT, Terraster, backends
from ..harness.waiting import wait_until
from .test_curl import curl

EXAMPLE = ROOT / "etc" / "examples" / "conditions.yaml"


@pytest.fixture
def named(backend):
    """Backends that say their name."""

    def make(name: str) -> str:
        return str(backend(answer=lambda request: ok(f"{name} {request.target}".encode())).url)

    return make


@pytest.mark.needs("curl")
def test_the_example_with_curl(terraster, named) -> None:
    """Over HTTP/1.1 and HTTP/2."""
    (shop,) = yaml.safe_load(EXAMPLE.read_text())["services"]
    for location in shop["locations"]:
        if "backends" in location:
            location["backends"] = backends(named(location.get("name", location["path"])))
        if "clients" in location.get("match", {}):
            location["match"]["clients"].append("127.0.0.0/8")
    proxy = terraster({**shop, "http2": True})
    asked = {
        ("/a",): "/ /a",
        ("/a", "-H", "x-canary: on"): "canary /a",
        ("/a", "-b", "tester=00112233"): "testers /a",
        ("/a", "-b", "tester=none"): "/ /a",
        ("/api/v1/x",): "old /api/v1/x",
        ("/api/v12/x",): "/api /api/v12/x",
        ("/api/x?version=%31",): "old-by-query /api/x?version=%31",
        ("/api", "-H", "x-canary: on"): "/api /api",
        ("/files/a", "-X", "PUT"): "uploads /files/a",
        ("/files/a",): "/ /files/a",
        ("/robots.txt",): "User-agent: *\nDisallow: /api\n",
        ("/robots.txt/",): "/ /robots.txt/",
    }
    common = ["--noproxy", "*", "-H", "Host: shop-de.example.com", "-w", "|"]
    every: list[str] = []
    for path, *more in asked:
        every += [*(["--next"] if every else []), *common, *more, f"{proxy.url}{path}"]
    assert curl(*every).split("|")[:-1] == [*asked.values()]
    for (path, *more), told in list(asked.items())[1:9:2]:  # one connection each: curl 7.88 writes its preface again on a kept one
        assert curl("--http2-prior-knowledge", *common, *more, f"{proxy.url}{path}") == f"{told}|"


def requests(proxy: Terraster) -> dict[str, float]:
    """The requests of each location of the service, by its label."""
    found: dict[str, float] = {}
    for key, value in proxy.metrics().items():
        if key.startswith("terraster_requests_total{") and 'service="s"' in key:
            label = key.partition('location="')[2].partition('"')[0]
            found[label] = found.get(label, 0) + value
    return found


def test_operators_see_them_apart_and_a_reload_keeps_them(terraster, named) -> None:
    one, two = named("one"), named("two")

    def written(**canary: Any) -> dict[str, Any]:
        match = {"headers": {"X-Canary": "s3cret"}, **canary}
        locations = [
            {"path": "/", "name": "canary", "match": match, "backends": backends(one, two)},
            {"path": "/", "match": {"headers": {"X-Key": "s3cret"}}, "backends": backends(one)},
            {"path": "/", "backends": backends(one, two)},
        ]
        return {"name": "s", "host": "*", "locations": locations}

    proxy = terraster(written())
    assert proxy.ctl("backend", "drain", "s/#canary", one).returncode == 0
    for fields in ("X-Canary: s3cret\r\n", "X-Canary: s3cret\r\n", "X-Key: s3cret\r\n", ""):
        told = get(proxy.address, fields=fields).body
        assert told in ([b"two /"] if "Canary" in fields else [b"one /"] if "Key" in fields else [b"one /", b"two /"])
    wait_until(lambda: requests(proxy) == {"/#canary": 2, "/#header:x-key": 1, "/": 1}, "all requests are counted")
    assert sorted(line["location"] for line in proxy.log(4)) == ["/", "/#canary", "/#canary", "/#header:x-key"]
    listed = proxy.ctl("backend", "list", "s/#canary").stdout
    assert "draining" in listed and "#header" not in listed
    assert "location" in proxy.ctl("backend", "drain", "s", two).stderr
    changes = proxy.reload(written(methods=["GET", "HEAD"]))["changes"]
    assert changes == ["~ service s: /#canary: ~ match: methods off → GET, HEAD"]
    assert get(proxy.address, fields="X-Canary: s3cret\r\n").body == b"two /"
    assert get(proxy.address, fields="X-Canary: s3cret\r\n", method="POST").status == 200
    wait_until(lambda: requests(proxy) == {"/#canary": 3, "/#header:x-key": 1, "/": 2}, "counters went on")
    states = {
        location["path"]: [one["state"] for one in location["backends"]]
        for service in proxy.status()["services"]
        for location in service["locations"]
    }
    assert states["/#canary"] == ["draining", "up"] and "draining" not in states["/"]
    assert "s3cret" not in str(proxy.status()) + str(proxy.metrics())


def test_a_websocket_is_known_by_its_upgrade(terraster, stack) -> None:
    """An extended CONNECT of HTTP/2 has the field, too."""
    locations = [
        {"path": "/", "respond": {"status": 404}},
        {"path": "/", "match": {"headers": {"Upgrade": "websocket"}, "methods": "GET"}, "respond": {"status": 403}},
    ]
    proxy = terraster({"name": "s", "host": "*", "http2": True, "locations": locations})
    assert get(proxy.address).status == 404
    assert get(proxy.address, fields="Upgrade: websocket\r\nConnection: Upgrade\r\n").status == 403
    client = stack.enter_context(Http2(proxy.connect()))
    assert client.answer(client.websocket()).status == 403
