"""What one location says for itself: header rules, limits, timeouts, an access log."""

from __future__ import annotations

import json
import time

from ..harness.backends import ok
from ..harness.client import exchange, get
from ..harness.http2_client import Http2
from ..harness.terraster_process import backends
from ..harness.waiting import wait_until


def test_a_location_differs_from_its_service(terraster, backend, tmp_path) -> None:
    def answer(request):
        if request.target.startswith("/slow"):
            time.sleep(3)
        return ok((request.get("x-by") or "").encode())

    origin = backend(answer=answer)
    log = tmp_path / "own.log"
    proxy = terraster(
        {
            "name": "site",
            "headers": {"request_headers": {"X-By": "service"}, "response_headers": {"X-Frame-Options": "DENY"}},
            "limits": {"body_size": 10},
            "locations": [
                {"path": "/", "backends": backends(origin.url)},
                {
                    "path": "/own",
                    "backends": backends(origin.url),
                    "headers": {"request_headers": {"X-By": "location"}, "remove_response_headers": ["X-Frame-Options"]},
                    "limits": {"body_size": 0},
                    "access_log": {"path": str(log), "fields": ["uri", "status"]},
                },
                {"path": "/slow", "backends": backends(origin.url), "timeouts": {"response": "300ms"}, "retry": "off"},
            ],
        }
    )
    inherited, own = get(proxy.address, "/x"), get(proxy.address, "/own/x")
    assert (inherited.body, inherited.get("x-frame-options")) == (b"service", "DENY")
    assert (own.body, own.get("x-frame-options")) == (b"location", None)
    post = "POST %s HTTP/1.1\r\nHost: a.test\r\nContent-Length: 11\r\n\r\n01234567890"
    assert exchange(proxy.address, (post % "/").encode()).status == 413
    assert exchange(proxy.address, (post % "/own").encode()).status == 200
    assert get(proxy.address, "/slow").status == 504
    wait_until(lambda: log.read_text().count("\n") == 2, "both lines are written")
    assert [json.loads(line) for line in log.read_text().splitlines()] == [
        {"uri": "/own/x", "status": 200},
        {"uri": "/own", "status": 200},
    ]
    assert [line["uri"] for line in proxy.log(3)] == ["/x", "/", "/slow"]


def test_a_path_is_rewritten_by_a_regular_expression(terraster, backend, stack) -> None:
    """For clients of HTTP/1.1 and HTTP/2. A reload changes the rules."""
    origin = backend(answer=lambda request: ok(request.target.encode()))
    rules = [{"match": "/item/([0-9]+)", "to": r"/items/\1?old"}, {"prefix": "/rest"}]
    location = {"path": "/", "backends": backends(f"{origin.url}/base"), "rewrite": rules}
    site = {"name": "site", "host": "*", "http2": True, "locations": [location]}
    proxy = terraster(site)
    client = stack.enter_context(Http2(proxy.connect()))
    for path, told in [("/item/42?a=b", "/base/items/42?old&a=b"), ("/item/x", "/base/rest/item/x")]:
        assert (get(proxy.address, path).body, client.get(path).body) == (told.encode(), told.encode())
    location["rewrite"] = {"match": "/item/(.*)", "to": r"/\1"}
    changes = proxy.reload(site)["changes"]
    assert get(proxy.address, "/item/x").body == b"/base/x"
    assert any("rewrite" in line for line in changes), changes
