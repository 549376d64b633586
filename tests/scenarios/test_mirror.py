"""Mirrors with real parties: over both protocols, to servers that are away or stuck, with a reload and a drain, and what memory they take."""

from __future__ import annotations

import json
import signal
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import yaml

from ..harness.authority import Authority
from ..harness.backends import Backend, Peer, Request, ok
from ..harness.client import exchange, get
from ..harness.http2_backend import Asked, Http2Backend, Http2Peer
from ..harness.http2_client import Http2
from ..harness.shapes import unlawful
from ..harness.terraster_process import rss, service
from ..harness.waiting import wait_until

MEGABYTE = 1 << 20
FOLDER = Path(__file__).parents[2] / "etc" / "examples"


def mirrored(url: str, to: str | list[str], location: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    return service(url, location={"middleware": [{"mirror": {"to": to, "methods": "all", **keys}}], **(location or {})})


def counted(proxy: Any, location: int = 0) -> dict[str, int]:
    """The counters that are not zero."""
    found = proxy.status()["services"][0]["locations"][location]["filters"]["mirror"]
    return {name: count for name, count in found.items() if count}


def stuck(peer: Peer) -> None:
    """Accepts, and never reads nor answers."""
    threading.Event().wait(60)


def swallow(peer: Peer) -> None:
    """Answers POSTs whose bodies have so many octets as the last word of their target says."""
    held = b""
    while True:
        while b"\r\n\r\n" not in held:
            if not (more := peer.sock.recv(1 << 18)):
                return
            held += more
        head, _, held = held.partition(b"\r\n\r\n")
        octets = int(head.split(b" ", 2)[1].rpartition(b"/")[2])
        while len(held) < octets:
            if not (more := peer.sock.recv(1 << 18)):
                return
            held += more
        held = held[octets:]
        peer.send(ok(b"%d" % octets))


def test_both_protocols_and_every_framing(terraster, backend) -> None:
    origin = backend(answer=lambda request: ok(b"original" + request.body))
    shadow = backend(answer=lambda request: ok(b"copy", b"Set-Cookie: copy=1\r\n", status=b"500 Internal Server Error"))
    proxy = terraster(mirrored(origin.url, shadow.url), http2=True)
    chunked = b"POST /c HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    assert exchange(proxy.address, chunked).body == b"originalhello"
    assert (
        exchange(proxy.address, b"PUT /l?x=y HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello").body == b"originalhello"
    )
    with Http2(proxy.connect()) as client:
        large = [(b"x-large", b"x" * 6000)]
        answer = client.get("/two", fields=large)
        assert (answer.status, answer.body, answer.get("set-cookie")) == (200, b"original", None)
        assert client.get("/up", method="POST", body=b"y" * 30000).body == b"original" + b"y" * 30000
    shadow.wait(4)
    for request in shadow.requests:
        (original,) = [one for one in origin.requests if one.target == request.target]
        assert (request.method, request.body) == (original.method, original.body)
        more = (b"x-terraster-mirror", b"1")
        assert sorted(one for one in request.fields if one != more) == sorted(original.fields) and more in request.fields
    wait_until(lambda: counted(proxy) == {"sent": 4})
    assert proxy.log(4)[0]["status"] == 200 and len(proxy.log()) == 4, "copies are not logged"


def test_over_http2(terraster, backend) -> None:
    def answer(peer: Http2Peer, asked: Asked) -> None:
        peer.answer(asked, 200, b"copy")

    origin = backend(answer=ok(b"original"))
    with Http2Backend(answer) as shadow:
        proxy = terraster(mirrored(origin.url, shadow.url, http2=True))
        sent = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60000
        assert exchange(proxy.address, sent).body == b"original"
        assert get(proxy.address, "/b").body == b"original"
        shadow.wait(lambda: len(shadow.requests) == 2)
        assert [(one.target, len(one.body), one.get("x-terraster-mirror")) for one in shadow.requests] == [
            ("/a", 60000, "1"),
            ("/b", 0, "1"),
        ]
        wait_until(lambda: counted(proxy) == {"sent": 2})


def test_the_certificate_of_a_server_is_verified(terraster, backend, tmp_path: Path) -> None:
    authority = Authority()
    issued = authority.issue("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issued.write(tmp_path))
    context.set_alpn_protocols(["h2"])
    (tmp_path / "root.pem").write_bytes(authority.root)
    origin = backend(answer=ok(b"original"))
    with Http2Backend(lambda peer, asked: peer.answer(asked, 200, b"copy"), tls=context) as shadow:
        proxy = terraster(mirrored(origin.url, shadow.url, http2=True))
        assert get(proxy.address).body == b"original"
        wait_until(lambda: counted(proxy) == {"sent": 1, "failed_connect": 1})
        trusting = mirrored(origin.url, shadow.url, http2=True)
        trusting["ca_file"] = str(tmp_path / "root.pem")
        proxy.reload(trusting)
        assert get(proxy.address).body == b"original"
        shadow.wait(lambda: shadow.requests)
        assert shadow.requests[0].get("x-terraster-mirror") == "1"


def test_a_server_that_is_away_or_stuck_changes_nothing(terraster, backend) -> None:
    origin = backend(answer=ok(b"original"))
    with Backend(stuck) as away:
        pass
    proxy = terraster(mirrored(origin.url, away.url))
    for _ in range(30):
        assert get(proxy.address).body == b"original"
    found = wait_until(lambda: (now := counted(proxy)) and now["sent"] + now.get("skipped_target_failing", 0) == 30 and now)
    assert found["failed_connect"] == found["sent"] < 30, "the target rests"
    proxy.reload(mirrored(origin.url, backend(stuck).url, timeout="200ms"))
    for _ in range(4):
        assert get(proxy.address).body == b"original"
    wait_until(lambda: counted(proxy).get("failed_timeout") == 4)
    assert all(line["status"] == 200 for line in proxy.log(34))


def test_memory_is_bounded_while_the_target_is_stuck(terraster, backend) -> None:
    proxy = terraster(mirrored(backend(swallow).url, backend(stuck).url, timeout="60s", memory="512k", queue=100000))
    (worker,) = proxy.workers()
    posts = (b"POST /16000 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 16000\r\n\r\n" + b"x" * 16000) * 10
    with proxy.connect() as client:
        for number in range(105):
            client.send(posts)
            assert [client.response().body for _ in range(10)] == [b"16000"] * 10
            if number == 4:
                before = rss(worker)
    grown = rss(worker) - before
    found = wait_until(lambda: (now := counted(proxy)).get("skipped_queue_full", 0) == 1050 - 32 and now)
    assert found == {"sent": 32, "skipped_queue_full": 1018}, "so many have room"
    assert grown < 4 * MEGABYTE, f"{grown / MEGABYTE:.1f} MB more after 16 MB of bodies"


def test_answers_are_compared(terraster, backend) -> None:
    def original(request: Request) -> bytes:
        return ok(b"one" if request.target != "/long" else b"x" * 200_000, b"X-Version: 1\r\nSet-Cookie: s=1\r\n")

    def copy(request: Request) -> bytes:
        if request.target == "/slow":
            time.sleep(1)
        if request.target == "/body?token=s3cret":
            return ok(b"two", b"X-Version: 1\r\nSet-Cookie: s=2\r\n")
        if request.target == "/head":
            return ok(b"one", b"X-Version: 2\r\nX-Auth-Token: s3cret\r\n", status=b"203 Other")
        return original(request)

    origin, shadow = backend(answer=original), backend(answer=copy)
    site = mirrored(origin.url, shadow.url, compare=["status", "headers", "body"], body_size="100k")
    slow = mirrored(origin.url, shadow.url, compare=["latency"], percent="100%")["locations"][0]
    site["locations"].append({**slow, "path": "/slow"})
    proxy = terraster(site, compression="on")
    for path in ("/same", "/long", "/body?token=s3cret", "/head", "/slow"):
        answer = get(proxy.address, path, fields="Cookie: c=s3cret\r\nAuthorization: Bearer s3cret\r\n")
        assert (answer.status, answer.get("x-version")) == (200, "1")
    wait_until(lambda: [counted(proxy, at).get("compared") for at in (0, 1)] == [4, 1])
    found = json.loads(proxy.ctl("mirror", "site", "--json").stdout)
    assert not (wrong := unlawful("mirror", found)), wrong
    one, two = found["mirrors"]
    assert one["entries"] == [{"name": None, "to": [shadow.url], "percent": 100.0, "compare": ["status", "headers", "body"]}]
    assert [{name: count for name, count in each["counters"].items() if count} for each in (one, two)] == [
        {"sent": 4, "compared": 4, "differed_status": 1, "differed_headers": 1, "differed_body": 1},
        {"sent": 1, "compared": 1, "differed_latency": 1},
    ]
    assert two["mean_seconds"]["copy"] >= 0.9 > two["mean_seconds"]["original"]
    by_path = {row["path"]: row for row in found["differences"]}
    assert by_path.keys() == {"/body", "/head", "/slow"}
    assert by_path["/head"]["differs"] == {
        "status": [200, 203],
        "headers": [
            {"name": "x-version", "original": "1", "copy": "2"},
            {"name": "x-auth-token", "original": None, "copy": "(not shown)"},
        ],
    }
    assert [part["octets"] for part in by_path["/body"]["differs"]["body"]] == [3, 3]
    logged = {line["request_id"] for line in proxy.log(5)}
    assert {row["request_id"] for row in by_path.values()} <= logged, "the ids are those of the log"
    said = proxy.ctl("mirror").stdout
    assert "  compared 4, differed: status 1, headers 1, body 1\n" in said
    assert "  x-version: 1, copy 2" in said and "  status 200, copy 203" in said
    assert "s3cret" not in said + json.dumps(found) + json.dumps(proxy.status()) + proxy.said
    assert proxy.metrics()['terraster_mirror_copy_seconds_total{location="/slow",service="site"}'] >= 0.9
    refused = proxy.ctl("mirror", "siet")
    assert (refused.returncode, refused.stderr) == (1, "terrasterctl: there is no service siet; did you mean `site`?\n")
    proxy.reload(service(origin.url))
    assert proxy.ctl("mirror").stdout.startswith("no mirror is configured\n")
    assert {row["path"] for row in json.loads(proxy.ctl("mirror", "--json").stdout)["differences"]} == {"/body", "/head"}
    proxy.reload(service(origin.url, path="/other"))
    assert json.loads(proxy.ctl("mirror", "--json").stdout)["differences"] == [], "they go with their location"


def test_a_reload_takes_the_mirror_away_and_frees_its_connections(terraster, backend) -> None:
    origin = backend(answer=ok(b"original"))
    shadow = backend(answer=ok(b"copy"))
    proxy = terraster(mirrored(origin.url, shadow.url))
    assert get(proxy.address).body == b"original"
    shadow.wait()
    (peer,) = shadow.peers
    proxy.reload(service(origin.url))
    assert peer.ended.wait(20), "the kept connection ends"
    assert get(proxy.address).body == b"original"
    assert len(shadow.requests) == 1


def test_a_drain_waits_for_no_copy(fresh, backend) -> None:
    origin = backend(answer=ok(b"original"))
    proxy = fresh(mirrored(origin.url, backend(stuck).url, timeout="60s"), drain_timeout="60s")
    assert get(proxy.address).body == b"original"
    wait_until(lambda: counted(proxy) == {"sent": 1})
    begun = time.monotonic()
    proxy.signal(signal.SIGTERM)
    assert proxy.program is not None
    assert proxy.program.wait(30) == 0
    assert time.monotonic() - begun < 30, "not the time of the copy, nor that of the drain"


def test_the_example(terraster, backend) -> None:
    (site,) = yaml.safe_load((FOLDER / "mirror.yaml").read_text())["services"]
    origin, shadow = backend(answer=ok(b"original")), backend(answer=ok(b"copy"))
    for location in site["locations"]:
        location["backends"] = [origin.url]
    (entry,) = site["locations"][0]["middleware"]
    entry["mirror"] |= {"to": shadow.url, "percent": 100}
    proxy = terraster(site)
    post = b"POST %b HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: 5\r\n\r\nhello"
    assert exchange(proxy.address, post % b"/pay").body == b"original"
    assert exchange(proxy.address, post % b"/order").body == b"original"
    (request,) = shadow.wait()
    assert (request.target, request.body, request.get("host")) == ("/order", b"hello", "shop.example.com")
