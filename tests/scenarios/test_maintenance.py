"""A service under maintenance: by the configuration, and by operators, over reloads, restarts and the end of their time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..harness.backends import ok
from ..harness.client import get
from ..harness.http2_client import Http2
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

SHOP = {"name": "shop", "host": "a.test"}


def test_a_page_for_all_but_some(terraster, backend, tmp_path: Path) -> None:
    page = tmp_path / "soon.html"
    page.write_text("<h1>Soon</h1>")
    url = backend(answer=ok(b"in")).url
    keys: dict[str, Any] = {"page": str(page), "retry_after": "2m"}
    proxy = terraster(service(url, middleware=[{"maintenance": keys}]), http2=True, cert_manager={"check_interval": "50ms"})
    answer = get(proxy.address)
    assert (answer.status, answer.body, answer.get("content-type")) == (503, b"<h1>Soon</h1>", "text/html; charset=utf-8")
    assert (answer.get("retry-after"), answer.get("cache-control")) == ("120", "no-store")
    assert answer.get("proxy-status").startswith("terraster; error=destination_unavailable; details=")
    assert proxy.log(1)[0]["detail"] == "maintenance: the service is under maintenance"
    with Http2(proxy.connect()) as client:
        assert client.get("/").status == 503
    page.write_text("<h1>Later</h1>")
    wait_until(lambda: get(proxy.address).body == b"<h1>Later</h1>")
    proxy.reload(service(url, middleware=[{"maintenance": {**keys, "bypass": ["127.0.0.1"]}}]))
    assert get(proxy.address).body == b"in"


def test_an_operator_switches_it_on_and_off(terraster, backend, tmp_path: Path) -> None:
    page = tmp_path / "soon.txt"
    page.write_text("soon")
    url = backend(answer=ok(b"in")).url
    shop = service(url, **SHOP, middleware=[{"maintenance": {"enabled": False, "page": str(page)}}])
    shop["locations"].append({"path": "/free", "backends": [url], "middleware": [{"maintenance": "off"}]})
    other = service(url, name="other", host="b.test")
    proxy = terraster(shop, other)
    assert get(proxy.address, host="a.test").status == 200
    refused = proxy.ctl("maintenance", "on", "shpo")
    assert (refused.returncode, refused.stderr) == (1, "terrasterctl: there is no service shpo; did you mean `shop`?\n")
    told = proxy.ctl("maintenance", "on", "shop", "--for", "1h", "--reason", "ticket 7")
    assert told.returncode == 0
    assert told.stdout.startswith("service shop is under maintenance: requests are answered with 503, until ")
    answers = [get(proxy.address, path, host="a.test") for path in ("/", "/free")]
    assert [(one.status, one.body) for one in answers] == [(503, b"soon")] * 2
    assert get(proxy.address, host="b.test").status == 200
    status = proxy.status()
    assert status["services"][[one["name"] for one in status["services"]].index("shop")]["maintenance"]["reason"] == "ticket 7"
    (problem,) = [one for one in status["problems"] if one["kind"] == "maintenance"]
    assert problem["service"] == "shop" and problem["text"].endswith("answered with 503: ticket 7") and problem["until"]
    assert "ticket 7" in proxy.ctl("status").stdout
    proxy.reload(shop, other, tcp_keepalive="59s")
    assert get(proxy.address, host="a.test").status == 503, "a reload does not end it"
    told = proxy.ctl("maintenance", "off", "shop")
    assert (told.returncode, told.stdout) == (0, "service shop serves\n")
    assert get(proxy.address, host="a.test").body == b"in"
    assert proxy.ctl("maintenance", "off", "shop").stdout == "service shop serves\nnote: no operator had switched it on\n"
    assert [one for one in proxy.status()["problems"] if one["kind"] == "maintenance"] == []


def test_it_ends_by_itself_and_outlives_a_restart(fresh, backend) -> None:
    url = backend(answer=ok(b"in")).url
    proxy = fresh(service(url, **SHOP), workers=2)
    assert proxy.control("POST", "/maintenance", action="on", service="shop")["changed"]
    assert get(proxy.address, host="a.test").status == 503
    proxy.program.stop()
    proxy.start()
    assert get(proxy.address, host="a.test").status == 503
    assert proxy.control("POST", "/maintenance", action="on", service="shop", **{"for": "0.5"})["maintenance"]["until"]
    assert proxy.control("POST", "/maintenance", action="off", service="shop")["changed"]
    assert proxy.control("POST", "/maintenance", action="on", service="shop", **{"for": "0.5"})["changed"]
    wait_until(lambda: get(proxy.address, host="a.test").status == 200)
    wait_until(lambda: "the time of maintenance was over" in proxy.said)
    assert proxy.status()["services"][0]["maintenance"] is None
