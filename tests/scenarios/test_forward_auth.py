"""A server that decides about requests, seen by clients: over both protocols, while it is away, and with bodies and redirects."""

from __future__ import annotations

from typing import Any

import pytest

from ..harness.backends import Backend, Request, always, ok
from ..harness.client import exchange, get
from ..harness.http2_client import Http2
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

LOGIN = b"HTTP/1.1 302 Found\r\nLocation: https://login.test/?rd=x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 5\r\n\r\nlogin"


def decides(request: Request) -> bytes:
    """Lets in who has the cookie."""
    return ok(b"", b"X-User: ada\r\nX-Secret: topsecret\r\n") if request.get("cookie") == "session=1" else LOGIN


def guarded(url: str, decider: str, **more: Any) -> dict[str, Any]:
    middleware = [{"forward_auth": {"url": f"{decider}/verify", "response_headers": ["X-User"], "user_header": "X-User", **more}}]
    return service(url, location={"middleware": middleware})


@pytest.fixture
def decider(backend) -> Any:
    return backend(answer=decides)


def test_requests_over_both_protocols(terraster, backend, decider) -> None:
    origin = backend(answer=lambda request: ok(request.body))
    proxy = terraster(guarded(origin.url, decider.url), http2=True)
    forged = "X-User: root\r\nX_User: root\r\nX-Forwarded-Uri: /public\r\n"
    sent = f"POST /a?b=c HTTP/1.1\r\nHost: a.test\r\n{forged}Cookie: session=1\r\nContent-Length: 5\r\n\r\nhello".encode()
    answer = exchange(proxy.address, sent)
    assert (answer.status, answer.body) == (200, b"hello")
    refused = get(proxy.address, fields=forged)
    assert (refused.status, refused.body, refused.get("location")) == (302, b"login", "https://login.test/?rd=x")
    assert refused.all("set-cookie") == ["a=1", "b=2"]
    assert 'details="forward_auth: the server answered 302"' in refused.get("proxy-status")
    with Http2(proxy.connect()) as client:
        fields = [(b"x-user", b"root"), (b"x_user", b"root"), (b"cookie", b"session=1")]
        assert client.get("/a", fields=fields).status == 200
        over_h2 = client.get("/a", fields=fields[:2])
        assert (over_h2.status, over_h2.body, over_h2.get("location")) == (302, b"login", "https://login.test/?rd=x")
    asked = decider.requests
    assert {(one.method, one.target, one.body) for one in asked} == {("GET", "/verify", b"")}
    assert (asked[0].get("x-forwarded-method"), asked[0].all("x-forwarded-uri")) == ("POST", ["/a?b=c"])
    for request in origin.requests:
        assert [value for name, value in request.fields if name.lower().replace(b"_", b"-") == b"x-user"] == [b"ada"]
        assert request.get("x-secret") is None
    assert len({id(one) for one in decider.peers}) == 1, "one connection to the server"
    wait_until(lambda: len(proxy.log()) >= 4)
    told = [(line["status"], line["user"], line["error"], line["detail"]) for line in proxy.log()]
    assert told == [(200, "ada", "", ""), (302, "", "http_request_denied", "forward_auth: the server answered 302")] * 2
    assert (
        "session=1" not in str(proxy.log()) + proxy.said and "topsecret" not in str(proxy.log()) + str(proxy.status()) + proxy.said
    )
    locations = {one["path"]: one for one in proxy.status()["services"][0]["locations"]}
    assert locations["/"]["filters"]["forward_auth"] == {"allowed": 2, "refused": 2, "unavailable": 0}
    assert list(locations) == ["/", f"@{decider.url}"]
    assert get(proxy.address, f"/@{decider.url}/verify").status == 302, "the server itself is not served"


def test_a_server_that_is_away(terraster, backend) -> None:
    with Backend(always(decides)) as decider:
        proxy = terraster(guarded(backend(answer=ok()).url, decider.url))
        assert get(proxy.address, fields="Cookie: session=1\r\n").status == 200
    for _ in range(8):
        refused = get(proxy.address, fields="Cookie: session=1\r\n")
        assert (refused.status, refused.get("retry-after")) == (503, "1")
        assert refused.get("proxy-status").startswith("terraster; error=destination_unavailable")
    with Backend(always(decides), port=decider.port):
        assert get(proxy.address, fields="Cookie: session=1\r\n").status == 200, "as soon as it is back"


def test_a_server_that_is_known_by_name(terraster, backend, decider) -> None:
    proxy = terraster(guarded(backend(answer=ok()).url, decider.url.replace("127.0.0.1", "localhost")))
    wait_until(lambda: get(proxy.address, fields="Cookie: session=1\r\n").status == 200)


def test_large_answers_and_head(terraster, backend) -> None:
    page = b"x" * 300_000
    decider = backend(answer=lambda request: ok(page if request.target == "/verify" else page * 4, status=b"403 Forbidden"))
    proxy = terraster(guarded(backend(answer=ok()).url, decider.url))
    assert get(proxy.address).body == page
    head = get(proxy.address, method="HEAD")
    assert (head.status, head.body, head.get("content-length")) == (403, b"", "300000")
    proxy.reload(guarded(backend(answer=ok()).url, f"{decider.url}/too-long"))
    assert get(proxy.address).status == 503, "and never open"
