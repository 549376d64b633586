"""Cross-origin requests, seen by clients that speak for browsers. A browser is in `test_browser`."""

from __future__ import annotations

from ..harness.backends import Backend, Request, ok
from ..harness.client import get
from ..harness.http2_client import Http2
from ..harness.terraster_process import backends, service


def answer(request: Request) -> bytes:
    return ok(b"", b"Access-Control-Allow-Origin: https://other.test\r\nVary: Accept\r\n")


def api(origin: Backend, **keys: object) -> dict[str, object]:
    cors = {"allowed_origins": "https://page.test", "allowed_methods": ["PUT"]}
    site = service(origin.url, name="one", host="one.test", **keys)
    site["middleware"] = [{"cors": cors}]
    site["locations"] = [
        {"path": "/open", "backends": backends(origin.url)},
        {"path": "/star", "backends": backends(origin.url), "middleware": [{"cors": {"allowed_origins": "*"}}]},
    ]
    return site


def test_http2_says_the_same(terraster, backend, stack) -> None:
    origin = backend(answer=answer)
    proxy = terraster(api(origin, http2=True))
    client = stack.enter_context(Http2(proxy.connect()))
    fields = [("origin", "https://page.test"), ("access-control-request-method", "PUT")]
    preflight = client.get("/open/a", method="OPTIONS", host="one.test", fields=fields)
    assert (preflight.status, preflight.body) == (204, b"")
    assert (preflight.get("access-control-allow-origin"), preflight.get("vary")) == ("https://page.test", "Origin")
    assert preflight.get("access-control-allow-methods") == "PUT"
    got = client.get("/open/a", host="one.test", fields=fields[:1])
    assert (got.get("access-control-allow-origin"), got.get("vary")) == ("https://page.test", "Accept, Origin")
    for path, allowed in (("/open/a", None), ("/star/a", "*")):
        got = client.get(path, host="one.test")
        assert (got.get("access-control-allow-origin"), got.get("vary")) == (allowed, "Accept, Origin"), path


def test_it_counts(terraster, backend) -> None:
    proxy = terraster(api(backend(answer=answer)))
    for origin in ("https://page.test", "https://page.test", "https://evil.test"):
        fields = f"Origin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n"
        get(proxy.address, "/open/a", "one.test", fields, "OPTIONS")
    places = {place["path"]: place["filters"] for place in proxy.status()["services"][0]["locations"]}
    assert places["/open"] == {"cors": {"preflights": 2, "refused": 1}}
