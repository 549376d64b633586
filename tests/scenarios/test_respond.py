"""Fixed answers, seen by a client."""

from __future__ import annotations

from pathlib import Path

import yaml

from ..harness.backends import ok
from ..harness.client import get
from ..harness.http2_client import Http2
from ..harness.terraster_process import backends
from ..harness.waiting import wait_until

EXAMPLES = Path(__file__).parents[2] / "etc" / "examples"


def test_a_service_that_answers_itself_but_for_one_location(terraster, backend) -> None:
    origin = backend(answer=lambda request: ok(b"from the backend"))
    proxy = terraster(
        {
            "name": "site",
            "respond": {"status": 503, "body": "closed", "headers": {"Retry-After": 60}},
            "locations": [
                {"path": "/shop"},
                {"path": "/live", "respond": {"body": "live"}},
                {"path": "/open", "respond": "off", "backends": backends(origin.url)},
            ],
        }
    )
    for path, status, body in [
        ("/shop/x", 503, b"closed"),
        ("/nowhere", 503, b"closed"),
        ("/live", 200, b"live"),
        ("/open/x", 200, b"from the backend"),
    ]:
        answer = get(proxy.address, path)
        assert (answer.status, answer.body) == (status, body), path
    assert get(proxy.address, "/shop").get("retry-after") == "60"
    places = {place["path"]: place["filters"] for place in proxy.status()["services"][0]["locations"]}
    assert places == {"/shop": {"respond": {"answers": 2}}, "/live": {"respond": {"answers": 1}}, "/open": {}}


def test_a_file(terraster, stack, tmp_path: Path) -> None:
    """Over HTTP/1 and HTTP/2, for GET and HEAD, with a variable in a field; and as soon as it changes."""
    (tmp_path / "robots.txt").write_bytes(b"User-agent: *")
    fixed = {"file": str(tmp_path / "robots.txt"), "headers": {"X-Asked": "${method} ${uri}"}}
    site = {"name": "site", "locations": [{"path": "/robots.txt", "respond": fixed}]}
    proxy = terraster(site, http2=True, cert_manager={"check_interval": "100ms"})
    with Http2(proxy.connect()) as client:
        for method, body in [("GET", b"User-agent: *"), ("HEAD", b"")]:
            for one in (get(proxy.address, "/robots.txt?a", method=method), client.get("/robots.txt?a", method=method)):
                said = one.status, one.body, one.get("content-length"), one.get("content-type"), one.get("x-asked")
                assert said == (200, body, "13", "text/plain; charset=utf-8", f"{method} /robots.txt?a")
        (tmp_path / "robots.txt").write_bytes(b"new")
        wait_until(lambda: client.get("/robots.txt").body == b"new", "the new file over HTTP/2")
    wait_until(lambda: get(proxy.address, "/robots.txt").body == b"new", "the new file over HTTP/1")


def test_the_example(terraster, backend) -> None:
    (one,) = yaml.safe_load((EXAMPLES / "fixed-answers.yaml").read_text().replace(": pages/", f": {EXAMPLES}/pages/"))["services"]
    one["locations"][0]["backends"] = [backend(answer=ok(b"shop")).url]
    proxy = terraster(one)
    for path, status, body, name, value in [
        ("/", 200, b"shop", "content-type", None),
        ("/robots.txt", 200, b"User-agent: *\nDisallow: /cart\n", "content-type", "text/plain; charset=utf-8"),
        ("/ping", 200, b"pong\n", "x-client", "127.0.0.1"),
        ("/v1/x", 410, b'{"error": "v1 has ended: use /v2"}', "content-type", "application/json"),
        ("/to/a?b=c", 302, b"", "location", "https://www.example.com/to/a?b=c"),
    ]:
        answer = get(proxy.address, path, host="shop.example.com")
        assert (answer.status, answer.body, answer.get(name)) == (status, body, value), path
